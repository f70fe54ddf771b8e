"""A server that answers every request with the events a test gives it, byte for byte as a provider sends them."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GAP = 0.02


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.requests.append((self.path, json.loads(body or b"{}")))
        if self.server.plain is not None:
            self._send_plain(json.dumps(self.server.plain).encode())
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in self.server.events:
            name = event.get("type") if isinstance(event, dict) else None
            head = f"event: {name}\n" if isinstance(name, str) else ""
            self.wfile.write(f"{head}data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
            time.sleep(self.server.gap)
        if any("choices" in event for event in self.server.events):
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _send_plain(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Replay(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, events: Sequence[Any], plain: Any, gap: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events = events
        self.plain = plain
        self.gap = gap
        self.requests: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def replay(*events: Any, plain: Any = None, gap: float = GAP) -> Iterator[Replay]:
    """Serve these events to every request, ``gap`` seconds apart; ``plain`` instead as one answer."""
    server = Replay(events, plain, gap)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- Chat ---------------------------------------------------------------------------------


def chunk(
    delta: dict[str, Any] | None = None, reason: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    """Return a chunk of OpenAI's chat; without a delta it has no choices."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": reason}]
    about = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**about, "choices": choices, **more}


def calling(
    arguments: str, *, at: int | None = 0, call_id: str | None = None, name: str | None = None, index: int = 0
) -> dict[str, Any]:
    """Return a chunk with a piece of a tool call; what is None is left out."""
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    piece: dict[str, Any] = {"type": "function", "function": function}
    if at is not None:
        piece["index"] = at
    if call_id is not None:
        piece["id"] = call_id
    return chunk({"tool_calls": [piece]}, index=index)


OPENING = chunk({"role": "assistant", "content": ""})


# --- Responses ----------------------------------------------------------------------------


def response(status: str, output: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    """Return the answer as the events of the Responses API have it."""
    about = {"id": "resp_7", "object": "response", "created_at": 1, "model": "gpt-4o", "status": status}
    settings = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "temperature": 1, "top_p": 1}
    empty = {"error": None, "incomplete_details": None, "instructions": None, "metadata": {}, "usage": None}
    return {**about, **settings, **empty, "output": list(output), **more}


def event(name: str, /, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{name}", "sequence_number": 1, **fields}


def created() -> dict[str, Any]:
    return event("created", response=response("in_progress"))


def completed(*output: Any, **more: Any) -> dict[str, Any]:
    of_input, of_output = {"cached_tokens": 0}, {"reasoning_tokens": 0}
    counted = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    usage = {**counted, "input_tokens_details": of_input, "output_tokens_details": of_output}
    return event("completed", response=response("completed", output, **{"usage": usage, **more}))


def message(*texts: str, item_id: str = "m1") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": content}
