"""Short scripts and signals: what was recorded leaves, and the collector's death is not the program's."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from tests.processes.received import Receiver, environment, run

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

EXPORTER_TIMEOUT = 2
"""Seconds; each of three exporters may take as many, one after the other."""


@pytest.fixture(autouse=True)
def scripts(provider: ScriptedProvider) -> None:
    provider.scripts["short"] = Script(pieces=["a", "b", "c"], gap=0)
    provider.scripts["hang"] = Script(pieces=["a", "b", "c"], gap=0, ending="hang")


ENDS = {
    "after the last chunk": ("streaming.read()", ["completed"]),
    "inside the loop": ("for _ in streaming.opened(): raise SystemExit", ["abandoned"]),
    "in threads of an executor": (
        (
            "from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(4) as threads: list(threads.map(streaming.read, ['short'] * 8))"
        ),
        ["completed"] * 8,
    ),
    "with a daemon thread that reads": (
        (
            "import threading\n"
            "stream = streaming.opened('hang')\n"
            "threading.Thread(target=lambda: list(stream), daemon=True).start()\n"
            "streaming.blocked()"  # a daemon thread that ends within an import can hang any interpreter
        ),
        ["abandoned"],
    ),
}


@pytest.mark.parametrize("ending", ENDS)
def test_a_script_that_exits_at_once_loses_nothing(ending: str, receiver: Receiver, provider: ScriptedProvider) -> None:
    """The exit handlers send the span, the counters and every gap."""
    program, outcomes = ENDS[ending]
    done = run(
        "from tests.processes import streaming\n" + program, **environment(receiver.address, PROVIDER=provider.base_url)
    )

    assert done.returncode == 0, done.stderr
    assert "otel-tokenstream" not in done.stderr, done.stderr
    assert receiver.outcomes == outcomes
    assert receiver.streams() == {outcomes[0]: len(outcomes)}
    chunks = sum(span["attributes"][signals.CHUNKS] for span in receiver.spans)
    assert receiver.count(signals.OPERATION_TIME_PER_OUTPUT_CHUNK) == chunks - len(outcomes)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_stream(number: int, receiver: Receiver, provider: ScriptedProvider) -> None:
    """Ctrl-C, and SIGTERM with a handler that exits, leave a cancelled stream with what had come."""
    program = f"""
import os, signal, sys, threading
from tests.processes import streaming

def interrupt():
    streaming.blocked()
    os.kill(os.getpid(), {int(number)})

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
stream = streaming.opened("hang")
threading.Thread(target=interrupt).start()
list(stream)
"""
    done = run(program, **environment(receiver.address, PROVIDER=provider.base_url))

    assert done.returncode == {signal.SIGINT: -signal.SIGINT, signal.SIGTERM: 0}[number], done.stderr
    assert receiver.outcomes == ["cancelled"]
    assert receiver.streams() == {"cancelled": 1}


@pytest.mark.parametrize("answers", ["refuses", "never answers"])
def test_a_dead_collector_delays_the_exit_by_the_exporters_time_at_most(
    answers: str, provider: ScriptedProvider
) -> None:
    """Each exporter tries once and says once that it failed; we say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if answers == "refuses":
            listening.close()
        variables = environment(address, PROVIDER=provider.base_url, OTEL_EXPORTER_OTLP_TIMEOUT=str(EXPORTER_TIMEOUT))
        done = run("from tests.processes import streaming; streaming.read()", **variables)
        assert answers == "refuses" or waiting_connections(listening) <= 2  # of spans and of metrics

    assert done.returncode == 0
    assert done.stderr.count("Failed to export spans batch") == 1
    assert done.stderr.count("Failed to export metrics batch") == 1
    assert "otel-tokenstream" not in done.stderr


def waiting_connections(listening: socket.socket) -> int:
    listening.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listening.accept()[0].close()
            count += 1
    return count


def test_waiting_gaps_delay_the_exit_by_two_seconds_at_most() -> None:
    """Histogram records of gaps are worth no longer wait: some are recorded, the rest is let go."""
    program = """
import atexit
atexit.register(lambda: print(sum(sum(each.counts.values()) for each in telemetry.instruments.gap_queue._queue)))
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import telemetry_for
from otel_tokenstream.settings import Settings
telemetry = telemetry_for(Settings(), None, MeterProvider([InMemoryMetricReader()]))
telemetry.start(Request("chat", "scripted", "test", stream=True)).end("completed")
telemetry.instruments.gap_queue.add({}, {1200: 10**8}, 10**15, None)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=180)
    assert 0 < int(done.stdout) < 10**8
