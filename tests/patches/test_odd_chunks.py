"""Servers that speak OpenAI's API in their own way: real answers, of the frames that such servers send."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import openai
import pytest

from otel_tokenstream import signals
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.testing import Capture

FRAMES: list[dict[str, Any]] = []


class _Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if asked.get("stream") else "application/json")
        self.end_headers()
        if not asked.get("stream"):
            self.wfile.write(json.dumps(FRAMES[0]).encode())
            return
        for frame in FRAMES:
            self.wfile.write(f"data: {json.dumps(frame)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}", api_key="none", max_retries=0) as client:
            yield client
        server.shutdown()


def frame(delta: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


@contextmanager
def streamed(client: openai.OpenAI, *frames: dict[str, Any]) -> Iterator[tuple[Any, Capture]]:
    FRAMES[:] = frames
    with capture(capture_content="EVENT_ONLY") as captured:
        yield client.chat.completions.create(model="m", messages=[], stream=True), captured


@pytest.mark.parametrize(("leaves_after", "outcome"), [(1, "closed"), (None, "completed")])
def test_an_empty_finish_reason_is_none(client: openai.OpenAI, leaves_after: int | None, outcome: str) -> None:
    """Some servers send it with every chunk until the last one."""
    frames = frame({"content": "a"}, ""), frame({"content": "b"}, ""), frame({}, "length")
    with streamed(client, *frames) as (stream, captured):
        for number, _chunk in enumerate(stream, 1):
            if number == leaves_after:
                stream.close()
                break
    (generation,) = captured.generations
    assert generation.outcome == outcome
    assert generation.attributes[signals.FINISH_REASONS] == (("error",) if leaves_after else ("length",))


def test_reasoning_has_either_of_two_names(client: openai.OpenAI) -> None:
    kinds = []
    for name in ("reasoning_content", "reasoning"):
        frames = frame({name: "hm"}), frame({"content": "a"}), frame({}, "stop")
        with streamed(client, *frames) as (stream, captured):
            list(stream)
        kinds.append([event.attributes.get(signals.AT_KIND) for event in captured.generations[0].tokens])
    assert kinds[0] == kinds[1]
    assert "reasoning" in kinds[0]


@pytest.mark.parametrize(
    "odd",
    [
        frame({"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": {"a": 1}}}]}),
        frame({"function_call": {"name": "f", "arguments": {"a": 1}}}),
        frame({"reasoning_content": {"text": "hm"}}),
        frame({"reasoning": ["hm"]}),
        frame({"content": 5}),
        frame({"refusal": {"text": "no"}}),
        frame({"audio": {"transcript": 5}}),
        frame({"content": "b"}, id=5, model=7),
    ],
    ids=lambda odd: json.dumps(odd["choices"][0]["delta"]),
)
def test_a_value_of_another_type_costs_no_chunk(client: openai.OpenAI, odd: dict[str, Any]) -> None:
    """The chunk counts, and those after it are read."""
    about = {name: odd[name] for name in ("id", "model")}
    with streamed(client, odd, frame({"content": "a"}, **about), frame({}, "stop", **about)) as (stream, captured):
        list(stream)
    (generation,) = captured.generations
    assert generation.attributes[signals.CHUNKS] == 3
    assert generation.attributes[signals.FINISH_REASONS] == ("stop",)
    assert generation.attributes[signals.RESPONSE_MODEL] == str(odd["model"])


@pytest.mark.parametrize(
    ("status", "reasons"),
    [("completed", ("stop",)), ("queued", None), ("in_progress", None), ("cancelled", ("cancelled",))],
)
def test_an_answer_that_is_not_there_yet_has_no_finish_reason(
    client: openai.OpenAI, tokenstream: Capture, status: str, reasons: tuple[str, ...] | None
) -> None:
    """OpenAI's Responses API answers a request in the background at once."""
    FRAMES[:] = [{"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [], "status": status}]
    client.responses.create(model="m", input="Why?", background=True)

    (generation,) = tokenstream.generations
    assert generation.attributes.get(signals.FINISH_REASONS) == reasons
