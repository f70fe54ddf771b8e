"""The wire format of POST /v1/chat/completions, streamed and plain."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider.reply import Counts, Frame, Reply, ToolCall, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider.script import Piece


# Azure's first chunk: what its filters found in the prompt.
_OF_THE_PROMPT: dict[str, Any] = {
    "id": "",
    "object": "",
    "created": 0,
    "model": "",
    "choices": [],
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
}


class ChatCompletion(Reply):
    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.request.get("messages") or ()

    @property
    def limit(self) -> int | None:
        return self.request.get("max_completion_tokens") or self.request.get("max_tokens")

    # --- Streamed -------------------------------------------------------------------------

    def opening(self) -> list[Frame]:
        if not self.script.role_alone:
            return []
        return [self._frame(choice, {"role": "assistant", "content": ""}, "role") for choice in range(self.choices)]

    def frames(self, index: int) -> Iterator[Frame]:
        """The frames of one piece: one for each choice it belongs to."""
        piece = self.piece(index)
        if piece.kind == "no_choices":
            yield Frame(f"data: {encode_json(_OF_THE_PROMPT)}\n\n".encode(), "no_choices")
            return
        finish = None
        if not self.script.finish_alone and index == len(self.pieces) - 1:
            finish = self.finish_reason
        delta = _delta(piece) if piece.beside is None else {**_delta(piece), **_delta(piece.beside)}
        if index == 0 and not self.script.role_alone:
            delta = {"role": "assistant", **delta}
        for choice in range(self.choices) if piece.choice is None else (piece.choice,):
            yield self._frame(choice, delta, piece.kind, finish)

    def closing(self) -> list[Frame]:
        frames = []
        if self.script.ending == "error_frame":
            frames.append(Frame(b"data: " + self.error() + b"\n\n", "error"))
        elif self.finish_reason is not None:
            if self.script.finish_alone:
                frames += [self._frame(choice, {}, "finish", self.finish_reason) for choice in range(self.choices)]
            asked = (self.request.get("stream_options") or {}).get("include_usage")
            counts = self.counts()
            if counts is not None and (asked or self.script.usage_unasked):
                frames.append(Frame(self._encode([], usage=usage_object(counts)), "usage"))
        if self.script.done_marker:
            frames.append(Frame(b"data: [DONE]\n\n", "done"))
        return frames

    def _frame(self, choice: int, delta: dict[str, Any], kind: str, finish: str | None = None) -> Frame:
        return Frame(self._encode([{"index": choice, "delta": delta, "finish_reason": finish}]), kind)

    def _encode(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        # The head is the same in every chunk and this runs thousands of times a second.
        return f"data: {self._chunk_head},{encode_json({'choices': choices, **more})[1:]}\n\n".encode()

    @cached_property
    def _chunk_head(self) -> str:
        return encode_json(self._head("chat.completion.chunk"))[:-1]

    # --- Plain ----------------------------------------------------------------------------

    def body(self) -> bytes:
        choices = [
            {"index": choice, "message": self._message(choice), "finish_reason": self.finish_reason}
            for choice in range(self.choices)
        ]
        body = {**self._head("chat.completion"), "choices": choices}
        counts = self.counts()
        if counts is not None:
            body["usage"] = usage_object(counts)
        return encode_json(body).encode()

    def error(self) -> bytes:
        error = {"message": self.script.error_message, "type": self.script.error_type, "param": None, "code": None}
        return encode_json({"error": error}).encode()

    def _message(self, choice: int) -> dict[str, Any]:
        texts, calls = self.texts(choice), self.calls(choice)
        message: dict[str, Any] = {"role": "assistant", "content": texts["text"] or None}
        if texts["reasoning"]:
            message["reasoning_content"] = texts["reasoning"]
        if texts["refusal"]:
            message["refusal"] = texts["refusal"]
        if calls:
            message["tool_calls"] = [_call(*call) for call in calls]
        return message

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.number:08x}", "object": kind, "created": int(time.time()), "model": self.model}


def usage_object(counts: Counts) -> dict[str, Any]:
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.output,
        "total_tokens": counts.prompt + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cached, **_of_audio(counts.heard)},
        "completion_tokens_details": {"reasoning_tokens": counts.reasoning, **_of_audio(counts.spoken)},
    }


def _of_audio(tokens: int) -> dict[str, int]:
    return {"audio_tokens": tokens} if tokens else {}


def _delta(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "role":
            return {"role": "assistant", "content": ""}
        case "reasoning":
            return {"reasoning_content": piece.text}
        case "refusal":
            return {"refusal": piece.text}
        case "audio":
            # The bytes of a sound would say nothing here; their transcript is the piece's text.
            return {"audio": {"id": "audio_1", "data": "AAAA", "transcript": piece.text}}
        case "tool_call":
            call: dict[str, Any] = {"function": {"arguments": piece.text}}
            if piece.tool_name:
                call = _call(*ToolCall(piece.tool_id, piece.tool_name, piece.text))
            elif piece.tool_id:
                call = {"id": piece.tool_id, "type": "function", **call}
            return {"tool_calls": [{**call, "index": piece.tool_index}]}
    return {"content": piece.text}


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
