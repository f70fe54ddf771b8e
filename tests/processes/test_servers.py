"""Servers with several workers: what the workers counted together is what was streamed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from tests import zero_code
from tests.processes.received import Receiver, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
STREAMS = 40
APPLICATION = "tests.processes.streaming"


@contextlib.contextmanager
def serving(*command: str, endpoint: str, provider: ScriptedProvider) -> Iterator[str]:
    """A server under opentelemetry-instrument with the listening socket as file descriptor FD; SIGTERM ends it."""
    provider.scripts["short"] = Script(pieces=["a", "b", "c"], gap=0)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        number = listening.fileno()
        process = subprocess.Popen(
            [zero_code.COMMAND, *(part.replace("FD", str(number)) for part in command)],
            env=environment(endpoint, PROVIDER=provider.base_url),
            pass_fds=(number,),
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def streamed(address: str) -> list[int]:
    """The chunks of each of 40 streams."""

    def ask(_: int) -> int:
        for _ in range(30):
            try:
                with urlopen(address, timeout=180) as answer:
                    return int(answer.read())
            except (ConnectionError, URLError):  # a worker that was just replaced
                sleep(0.2)
        raise AssertionError(address)

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(ask, range(STREAMS)))


def assert_all_arrived(receiver: Receiver, chunks: list[int], *, processes: int) -> None:
    spans = receiver.spans
    assert len({span["id"] for span in spans}) == len(spans) == STREAMS
    assert receiver.outcomes == ["completed"] * STREAMS
    assert receiver.streams() == {"completed": STREAMS}
    assert receiver.count(signals.TIME_TO_FIRST_TOKEN) == STREAMS
    assert receiver.count(signals.OPERATION_TIME_PER_OUTPUT_CHUNK) == sum(chunks) - STREAMS
    instances = {span["instance"] for span in spans}
    assert len(instances) >= processes
    assert instances == {point["instance"] for point in receiver.points(signals.TIME_TO_FIRST_TOKEN)}


def test_four_preloaded_gunicorn_workers(receiver: Receiver, provider: ScriptedProvider) -> None:
    """The program is loaded and instrumented once, in the master, and each worker reports as itself."""
    command = ("gunicorn", "--preload", "--workers", "4", "--bind", "fd://FD", APPLICATION + ":wsgi")
    with serving(*command, endpoint=receiver.address, provider=provider) as address:
        chunks = streamed(address)
    assert_all_arrived(receiver, chunks, processes=2)


def test_recycled_workers(receiver: Receiver, provider: ScriptedProvider) -> None:
    """Workers that are replaced after a few requests take nothing with them."""
    recycling = ("--max-requests", "6", "--max-requests-jitter", "2")
    command = ("gunicorn", "--preload", "--workers", "2", *recycling, "--bind", "fd://FD", APPLICATION + ":wsgi")
    with serving(*command, endpoint=receiver.address, provider=provider) as address:
        chunks = streamed(address)
    assert_all_arrived(receiver, chunks, processes=5)


def test_four_uvicorn_workers(receiver: Receiver, provider: ScriptedProvider) -> None:
    """Workers are started afresh, instrument themselves, and flush when their program's lifespan ends."""
    # By default a worker that takes more than five seconds to start is killed and started again.
    patience = ("--timeout-worker-healthcheck", "120")
    command = ("uvicorn", "--workers", "4", *patience, "--fd", "FD", APPLICATION + ":asgi")
    with serving(*command, endpoint=receiver.address, provider=provider) as address:
        chunks = streamed(address)
    assert_all_arrived(receiver, chunks, processes=2)
