from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from otel_tokenstream.core.runtime import forking

# Two threads fork at the same time, while the fork hook of somebody else takes its time: it was
# registered first, so it runs after ours. The executor's module serialises forks if it comes later.
TWO_FORKS = """
import concurrent.futures.thread
import os, sys, threading, time
os.register_at_fork(before=lambda: time.sleep(0.6))
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.settings import Settings
reader = InMemoryMetricReader()
telemetry = Telemetry(Settings(), TracerProvider(), MeterProvider([reader]))

def measured():
    call = telemetry.start(Request("chat", "scripted", "test", stream=True))
    for at in range(1, 4):
        call.text(call.started + at, call.started + at * 1_000, "x")
    call.end("completed")
    (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
    return any("time_per_output_chunk" in metric.name for metric in scope.metrics)

statuses = []
def fork():
    child = os.fork()
    if child == 0:
        os._exit(0 if measured() else 1)
    statuses.append(os.waitpid(child, 0)[1])

threads = [threading.Thread(target=fork) for _ in range(2)]
threads[0].start()
time.sleep(0.05)
threads[1].start()
for thread in threads:
    thread.join()
print(statuses, measured())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_that_fork_at_once_leave_no_lock_taken() -> None:
    """Metrics are collected in both children and in the parent, whoever waited for whom."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TWO_FORKS)], capture_output=True, text=True, timeout=180, check=False
    )

    assert done.stdout.strip() == "[0, 0] True", done.stderr
    assert not forking.under_way()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_inherits_no_lock_that_is_taken_and_forgets() -> None:
    """A fork waits for whoever has the lock; parent and child have it free afterwards."""

    class Thing:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.mine = True

        def locks(self) -> list[threading.Lock]:
            return [self.lock]

        def forked(self) -> None:
            self.mine = False

    thing, taken = Thing(), threading.Event()
    forking.look_after(thing)

    def take() -> None:
        with thing.lock:
            taken.set()
            until = time.monotonic() + 60
            while not forking.under_way() and time.monotonic() < until:
                time.sleep(0.001)

    taker = threading.Thread(target=take)
    taker.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if thing.lock.acquire(timeout=60) and not thing.mine and not forking.under_way() else 1)
    taker.join()

    assert os.waitpid(child, 0)[1] == 0
    assert thing.lock.acquire(timeout=60)
    assert thing.mine
