"""A server that is not the one that is asked for."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.sources.tempo import Tempo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Server:
    """Answers every request in one way and writes down what it was asked; without a status the answer is no HTTP."""

    def __init__(self, status: int | None, body: bytes, headers: dict[str, str]) -> None:
        self.asked: list[dict[str, str]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(dict(self.headers.items()))
                if status is not None:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self) -> Recording:
        recording = Recording()
        Tempo(self.url, 0, 60, tenant="team-a").read(recording)
        return recording

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(status: int | None = 200, body: bytes = b"", **headers: str) -> Server:
        started.append(Server(status, body, headers))
        return started[-1]

    yield start
    for each in started:
        each.close()
