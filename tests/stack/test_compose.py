"""The compose file, read by the Compose specification's own loader. There is no container engine here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from otel_tokenstream.demo.children import free_port
from tests.stack.ask import logql, promql, traceql
from tests.stack.binaries import binary
from tests.stack.servers import ROOT, compose_service, wait_until


def load(text, directory):
    path = directory / "docker-compose.yml"
    path.write_text(text)
    return subprocess.run(
        [binary("compose"), "-format", "json", path], cwd=directory, capture_output=True, text=True, check=False
    )


def test_the_loader_takes_the_file(tmp_path):
    """Schema and anchors; references are checked with the files of the bundle."""
    done = load((ROOT / "docker-compose.yml").read_text(), tmp_path)
    assert not done.returncode, done.stderr
    services = json.loads(done.stdout)["services"]
    assert {"collector", "tempo", "prometheus", "loki", "grafana"} <= services.keys()


@pytest.mark.parametrize(("right", "wrong"), [("mem_limit: 512m", "memory_limit: 512m"), ("cap_drop:", "capdrop:")])
def test_the_loader_would_refuse_mistakes(tmp_path, right, wrong):
    """So that its silence above means something."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert right in text
    assert load(text.replace(right, wrong), tmp_path).returncode


@pytest.fixture
def demo(stack):
    """The demo service: its own script but for the installation, in its own environment but for the addresses."""
    service = compose_service("demo")
    _, installation, script = service["command"][-1].partition('pip install --quiet "/tmp/build[demo]"\n')
    assert installation
    port = str(free_port())
    asked = {name: value.replace("8099", port) for name, value in service["environment"].items() if name != "HOME"}
    asked["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.collectors["collector"].http
    script = script.replace("$$", "$").replace("8099", port)
    process = stack.children.start("demo", ["sh", "-ec", script], {**os.environ, **asked})
    yield time.time()
    os.killpg(process.pid, signal.SIGTERM)  # the shell's own group, which has the provider and the program in it
    process.wait(30)


def test_the_demo_shows_on_the_dashboards(stack, demo):
    """Both programs, in every back end."""
    programs = ("demo-litellm", "demo-dspy")
    for name in programs:
        query = f'sum(tokenstream_streams_total{{service_name="{name}"}}) > 0'
        wait_until(lambda query=query: promql(stack.url("prometheus"), query), 180, what=query)
        wait_until(lambda name=name: logql(stack.url("loki"), f'{{service_name="{name}"}}', demo), 60, what=name)
        if stack.has_tempo:
            query = f'{{ resource.service.name = "{name}" && span.tokenstream.outcome != nil }}'
            wait_until(lambda query=query: traceql(stack.url("tempo"), query, demo), 60, what=query)
    print(f"the demo's programs are in every back end after {time.time() - demo:.1f} s")
