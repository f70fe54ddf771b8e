"""One stack for all tests of this directory: real components, shipped configuration, known faults.

It takes minutes and builds what is missing, so it runs only when asked for: make test-stack.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from otel_tokenstream.demo.children import Children
from tests.stack import binaries
from tests.stack.ask import logql, promql, traceql
from tests.stack.servers import Stack, wait_until

HERE = Path(__file__).parent
SESSION_STARTED = time.time()
NO_TEMPO = "no Tempo server: it is in no package registry. Name one in TEMPO_BIN or put tempo on the PATH"


def pytest_ignore_collect(config):
    """Only by name: a plain pytest leaves the stack alone."""
    asked = [Path(part.split("::")[0]).resolve() for part in config.invocation_params.args if not part.startswith("-")]
    return None if any(HERE in (path, *path.parents) for path in asked) else True


def pytest_collection_modifyitems(items):
    # First those that look at a program's data, so that the time to the first data is measured from the start.
    items.sort(key=lambda item: "shown" not in item.fixturenames)
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))
            if item.get_closest_marker("tempo") and not binaries.tempo():
                item.add_marker(pytest.mark.skip(reason=NO_TEMPO))


def pytest_configure(config):
    config.addinivalue_line("markers", "tempo: needs a Tempo 3.0 server")


class Program:
    """A running traffic.py; the scenario it starts with goes on in the background."""

    def __init__(self, directory, scenario, service, endpoint, **options):
        self.service, self.truth, self.started = service, directory / f"truth-{service}", time.time()
        command = [sys.executable, str(HERE / "traffic.py"), scenario, "--service", service, "--endpoint", endpoint]
        command += ["--truth", str(self.truth)]
        command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self._log = (directory / f"traffic-{service}.log").open("wb")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=dict(os.environ)
        )

    def wait(self):
        """Wait until the scenario is over and everything is sent."""
        line = self._process.stdout.readline()
        assert line == "done\n", Path(self._log.name).read_text()[-3000:]
        return self

    def go_on(self, scenario):
        print(scenario, file=self._process.stdin, flush=True)

    def leave(self):
        """Tell it that no further scenario comes."""
        self._process.stdin.close()

    def end(self):
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


@pytest.fixture(scope="session")
def programs():
    """Starts traffic and ends it with the session."""
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.ExitStack() as ending,
        contextlib.ExitStack() as leaving,
    ):

        def start(scenario, service, endpoint, **options):
            program = Program(Path(directory), scenario, service, endpoint, **options)
            # All leave before the first one is waited for.
            ending.callback(program.end)
            leaving.callback(program.leave)
            return program

        yield start


@pytest.fixture(scope="session")
def stack():
    for name in ("otelcol", "prometheus", "promtool", "loki", "alertmanager"):
        binaries.binary(name)
    with tempfile.TemporaryDirectory(prefix="stack-") as directory, Children(Path(directory)) as children:
        running = Stack(Path(directory), children)
        started = time.monotonic()
        running.start()
        print(f"\nall components ready after {time.monotonic() - started:.1f} s")
        yield running


@pytest.fixture(scope="session")
def shown(stack, programs):
    """A program after everything that a dashboard shows, once it is in all back ends."""
    started = time.time()
    endpoint = stack.collectors["collector"].http
    program = programs("mixed", "shown", endpoint)
    prometheus = stack.url("prometheus")
    wait_until(
        lambda: promql(prometheus, 'sum(tokenstream_streams_total{service_name="shown"}) > 0'), 60, what="first metrics"
    )
    wait_until(lambda: logql(stack.url("loki"), '{service_name="shown"}', started), 60, what="first log records")
    if stack.has_tempo:
        query = '{ resource.service.name = "shown" && span.tokenstream.outcome = "failed" }'
        wait_until(lambda: traceql(stack.url("tempo"), query, started), 90, what="first traces")
    print(f"data in every back end {time.time() - SESSION_STARTED:.1f} s after the start of the session")
    return program.wait()
