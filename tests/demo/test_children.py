from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.demo.children import HOST, ChildError, Children, free_port

if TYPE_CHECKING:
    from pathlib import Path

SILENT = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
SERVER = "from http.server import *; HTTPServer(('127.0.0.1', {port}), SimpleHTTPRequestHandler).serve_forever()"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_children_end_with_the_block_also_after_an_error(tmp_path: Path) -> None:
    """A server that answered is gone once the block is left by an exception."""
    port = free_port()

    def start_and_fail() -> None:
        with Children(tmp_path) as children:
            process = children.start("server", python(SERVER.format(port=port)), dict(os.environ))
            started.append(process)
            children.ready("server", process, f"http://{HOST}:{port}", within=20)
            raise KeyboardInterrupt

    started: list = []
    with pytest.raises(KeyboardInterrupt):
        start_and_fail()

    assert started[0].poll() is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port), timeout=2)


def test_child_that_does_not_listen_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores the request to end does not outlive the block."""
    monkeypatch.setattr("otel_tokenstream.demo.children.SECONDS_TO_END", 0.2)
    with Children(tmp_path) as children:
        process = children.start("deaf", python(SILENT), dict(os.environ))
        log = tmp_path / "deaf.log"
        while not log.read_text():
            assert process.poll() is None

    assert process.returncode == -9


def test_child_that_fails_is_quoted(tmp_path: Path) -> None:
    """The error names the process, its exit code and the end of its output."""
    with Children(tmp_path) as children:
        process = children.start("odd server", python("raise SystemExit('no such model')"), dict(os.environ))
        with pytest.raises(ChildError, match=r"(?s)odd server ended with exit code 1.*no such model"):
            children.ready("odd server", process, f"http://{HOST}:{free_port()}", within=20)


def test_taken_port_is_replaced_by_a_free_one() -> None:
    """The preferred port is taken only if nobody listens on it."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port
