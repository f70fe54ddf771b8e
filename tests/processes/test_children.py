"""Children of multiprocessing by every start method, forks in mid-stream, and greenlets."""

from __future__ import annotations

import inspect
import multiprocessing
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from tests import zero_code
from tests.processes.received import Receiver, environment, run

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider


@pytest.fixture(autouse=True)
def scripts(provider: ScriptedProvider) -> None:
    provider.scripts["short"] = Script(pieces=["a", "b", "c"], gap=0)
    provider.scripts["slow"] = Script(pieces=["a", "b", "c"], gap=0.3)


@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("kind", ["process", "executor"])
def test_children_of_multiprocessing_report_as_themselves(
    start: str, kind: str, receiver: Receiver, provider: ScriptedProvider
) -> None:
    """Forked or started afresh, a child that flushes loses nothing and has an instance id of its own."""
    done = subprocess.run(
        [zero_code.COMMAND, sys.executable, str(Path(__file__).parent / "pools.py"), start, kind],
        env=environment(receiver.address, PROVIDER=provider.base_url),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert receiver.outcomes == ["completed"] * 4
    assert receiver.streams() == {"completed": 4}
    assert receiver.count(signals.TIME_TO_FIRST_TOKEN) == 4
    if kind == "process":
        assert len({span["instance"] for span in receiver.spans}) == 2


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_fork_in_mid_stream(receiver: Receiver, provider: ScriptedProvider) -> None:
    """The parent's open stream is the parent's; the child makes one of its own, and both exit by themselves."""
    program = """
import os, sys
from tests.processes import streaming
mine = streaming.opened("slow"); next(mine)
child = os.fork()
if child == 0:
    streaming.read()
    sys.exit()
list(mine)
_, status = os.waitpid(child, 0)
sys.exit(status)
"""
    done = run(program, **environment(receiver.address, PROVIDER=provider.base_url))
    assert done.returncode == 0, done.stderr
    spans = receiver.spans
    assert [span["attributes"][signals.OUTCOME] for span in spans] == ["completed", "completed"]
    assert {span["name"] for span in spans} == {"chat slow", "chat short"}
    assert len({span["instance"] for span in spans}) == 2
    assert receiver.streams() == {"completed": 2}


@pytest.mark.skipif(find_spec("gevent") is None, reason="gevent is not installed")
def test_greenlets(receiver: Receiver, provider: ScriptedProvider) -> None:
    """In a process patched by gevent, streams that run side by side are told apart."""
    program = """
import gevent
from tests.processes import streaming
jobs = [gevent.spawn(streaming.read, "slow") for _ in range(5)]
gevent.joinall(jobs, raise_error=True)
"""
    variables = environment(
        receiver.address,
        PROVIDER=provider.base_url,
        OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH="patch_all",
    )
    done = run(program, **variables)
    assert done.returncode == 0, done.stderr
    assert "otel-tokenstream" not in done.stderr, done.stderr
    assert receiver.outcomes == ["completed"] * 5
    assert receiver.streams() == {"completed": 5}
    assert len({span["attributes"][signals.CHUNKS] for span in receiver.spans}) == 1


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_a_fork_while_gaps_are_recorded() -> None:
    """The child inherits none of the locks that are held while metrics are collected: it counts, and exits at once."""
    program = """
import os, sys, time
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import telemetry_for
from otel_tokenstream.settings import Settings
exporter = ConsoleMetricExporter(out=open(os.devnull, "w"))
provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=200)])
telemetry = telemetry_for(Settings(), None, provider)
def stream():
    telemetry.start(Request("chat", "scripted", "test", stream=True)).end("completed")
stream()
gap_queue = telemetry.instruments.gap_queue
gap_queue.add({}, {1200: 10**8}, 10**15, None)
while not gap_queue._draining.locked():
    time.sleep(0.001)
child = os.fork()
if child == 0:
    stream()
    sys.exit()
started = time.monotonic()
os.waitpid(child, 0)
print(time.monotonic() - started)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=180)
    sdk_waits = inspect.signature(MeterProvider.shutdown).parameters["timeout_millis"].default / 1000
    assert float(done.stdout) < sdk_waits  # for a thread of its own that waits for a lock
