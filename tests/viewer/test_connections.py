from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import grpc
import pytest

from otel_tokenstream.viewer import connections, receiver_grpc, receiver_http
from tests.viewer.viewer_client import PROTOBUF, ask, get, post

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.viewer.server import Viewer

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connected(viewer: Viewer, sockets: ExitStack, sent: bytes = b"") -> socket.socket:
    connection = sockets.enter_context(socket.create_connection(("127.0.0.1", viewer.http_port), 10))
    connection.sendall(sent)
    return connection


def closed(connection: socket.socket, patience: float = 20) -> bool:
    connection.settimeout(patience)
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
def test_idle_connections_do_not_lock_http_out(viewer: Viewer, sockets: ExitStack, sent: bytes) -> None:
    """Silent ones, ones amid their header and ones kept alive: beyond the bound the longest idle makes room."""
    idle = [connected(viewer, sockets, sent) for _ in range(connections._MOST + 40)]
    assert post(viewer, "/v1/traces", b"").status == 200
    assert get(viewer, "/api/streams")["streams"] == []
    assert closed(idle[0])
    assert not closed(idle[-1], patience=0.1)


def test_a_connection_that_asks_for_nothing_is_closed(
    viewer: Viewer, sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never asked sooner than one that did."""
    monkeypatch.setattr(connections, "_FIRST_REQUEST_SECONDS", 0.2)
    silent, cut = connected(viewer, sockets), connected(viewer, sockets, b"POST /v1/traces HTTP/1.1\r\nHost: 127")
    used = connected(viewer, sockets, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert closed(silent)
    assert closed(cut)
    assert not closed(used, patience=0.1)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.2)
    assert closed(used)


def test_requests_in_work_are_not_closed(viewer: Viewer, sockets: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that follows updates is not idle, however long nothing changes."""
    monkeypatch.setattr(connections, "_FIRST_REQUEST_SECONDS", 0.1)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.1)
    follower = connected(viewer, sockets, b"GET /api/updates HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    time.sleep(1.5)
    assert not closed(follower, patience=0.1)
    for _ in range(connections._MOST):
        connected(viewer, sockets)
    assert not closed(follower, patience=0.1)


def test_followers_are_bounded(viewer: Viewer, sockets: ExitStack) -> None:
    """They would hold every connection there may be."""
    for _ in range(64):
        follower = connected(viewer, sockets, b"GET /api/updates HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert follower.recv(15) == b"HTTP/1.1 200 OK"
    assert ask(viewer, "/api/updates").status == 503
    assert ask(viewer, "/api/streams").status == 200


def test_a_body_that_does_not_come_is_not_waited_for(
    viewer: Viewer, sockets: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is refused, and others are answered meanwhile."""
    monkeypatch.setattr(receiver_http, "_BODY_SECONDS", 0.5)
    lines = (
        "POST /v1/traces HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/x-protobuf",
        "Content-Length: 99",
    )
    head = "\r\n".join([*lines, "\r\n"]).encode()
    slow = [connected(viewer, sockets, head + b"\x0a") for _ in range(50)]
    assert post(viewer, "/v1/traces", b"", PROTOBUF).status == 200
    assert {connection.recv(12) for connection in slow} == {b"HTTP/1.1 408"}


@pytest.mark.parametrize("calls", [4, 50])
def test_half_open_grpc_calls_do_not_block_exports(viewer: Viewer, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Calls that never send their message hold nobody up, and end."""
    monkeypatch.setattr(receiver_grpc, "_MESSAGE_SECONDS", 3.0)
    release = threading.Event()

    def nothing() -> Iterator[bytes]:
        release.wait(60)
        yield from ()

    with ExitStack() as channels:
        pending = []
        for _ in range(calls):
            channel = channels.enter_context(grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}"))
            pending.append(channel.stream_unary(EXPORT).future(nothing()))
        with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
            assert channel.unary_unary(EXPORT)(b"", timeout=60) == b""
        assert {each.exception(timeout=60).code() for each in pending} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        release.set()


def test_a_grpc_call_that_ends_without_a_message_is_refused(viewer: Viewer) -> None:
    """As the sender's fault."""
    with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as refusal:
            channel.stream_unary(EXPORT)(iter(()), timeout=60)
        assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_silent_connections_to_grpc_do_not_lock_exports_out(viewer: Viewer, sockets: ExitStack) -> None:
    """Neither its own nor those of HTTP."""
    for _ in range(200):
        sockets.enter_context(socket.create_connection(("127.0.0.1", viewer.grpc_port), 10))
    with grpc.insecure_channel(f"127.0.0.1:{viewer.grpc_port}") as channel:
        assert channel.unary_unary(EXPORT)(b"", timeout=60) == b""
    assert post(viewer, "/v1/traces", b"").status == 200
