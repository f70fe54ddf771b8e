"""flush(): for processes that are frozen or killed as soon as they have answered."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import flush, signals
from otel_tokenstream.demo.provider import Script
from tests.processes.received import Receiver, environment, exporting, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider


@pytest.fixture
def silent_collector() -> Iterator[socket.socket]:
    """A server whose connections are accepted by the system and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def stream(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> int:
    """Read a stream with the function of the module ``streaming``, as programs do."""
    provider.scripts["short"] = Script(pieces=["a", "b", "c"], gap=0)
    monkeypatch.setenv("PROVIDER", provider.base_url)
    return 0


def read() -> int:
    from tests.processes import streaming

    return streaming.read()


@pytest.mark.usefixtures("stream")
def test_everything_recorded_until_then_has_arrived(receiver: Receiver) -> None:
    """Span, metrics with every gap, and log records are at the receiver when flush returns."""
    with exporting(receiver.address):
        chunks = read()
        assert flush(60)
        assert receiver.outcomes == ["completed"]
        assert receiver.streams() == {"completed": 1}
        assert receiver.count(signals.OPERATION_TIME_PER_OUTPUT_CHUNK) == chunks - 1
        assert signals.TOKEN_EVENT in {record["event"] for record in receiver.logs}


@pytest.mark.usefixtures("stream")
def test_a_collector_that_never_answers_does_not_hold_the_caller(silent_collector: socket.socket) -> None:
    """The SDK's own flush waits for its exporters however long they take; ours returns while they still wait."""
    with exporting(f"http://127.0.0.1:{silent_collector.getsockname()[1]}", seconds=6):
        read()
        assert not flush(0.5)
        connection, _ = silent_collector.accept()
        with connection:
            connection.setblocking(False)
            assert not has_ended(connection)


def has_ended(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection, behind all that it sent."""
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    return True


@pytest.mark.usefixtures("stream")
def test_a_process_may_be_killed_after_it(receiver: Receiver, provider: ScriptedProvider) -> None:
    """What was flushed needs no exit handler; that is how a frozen function ends."""
    program = """
import os, otel_tokenstream
from tests.processes import streaming
streaming.read()
os._exit(0 if otel_tokenstream.flush(30) else 1)
"""
    done = run(program, **environment(receiver.address, PROVIDER=provider.base_url))
    assert done.returncode == 0, done.stderr
    assert receiver.outcomes == ["completed"]
    assert receiver.streams() == {"completed": 1}
