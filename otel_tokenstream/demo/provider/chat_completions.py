"""The wire format of POST /v1/chat/completions, streamed and plain."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.demo.provider.prose import text_of, token_like
from otel_tokenstream.demo.provider.replies import answer
from otel_tokenstream.demo.provider.script import Piece, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider.script import Script

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


class Frame(NamedTuple):
    """One server-sent event, ready to be written. ``kind`` goes into the log."""

    data: bytes
    kind: str


@dataclass
class ChatCompletion:
    """One answer to one request: its pieces, and the bytes they become."""

    script: Script
    request: Mapping[str, Any]
    number: int
    pieces: Sequence[str | Piece] = field(init=False)

    _too_long: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        pieces = self.script.pieces
        if pieces is None:
            pieces = answer
        if callable(pieces):
            pieces = pieces(self.request)
            limit = self.request.get("max_completion_tokens") or self.request.get("max_tokens") or len(pieces)
            self._too_long = limit < len(pieces)
            pieces = pieces[:limit]
        self.pieces = pieces if self.script.ends_after is None else pieces[: self.script.ends_after]

    @property
    def choices(self) -> int:
        return int(self.request.get("n") or 1)

    @property
    def finish_reason(self) -> str | None:
        """None where the script withholds it."""
        ending = self.script.ending
        if ending == "natural":
            if self._too_long:
                return "length"
            calls = any(isinstance(piece, Piece) and piece.kind == "tool_call" for piece in self.pieces)
            return "tool_calls" if calls else "stop"
        return ending if ending in _FINISH_REASONS else None

    # --- Streamed -------------------------------------------------------------------------

    def opening(self) -> list[Frame]:
        """What comes just before the first piece."""
        if not self.script.role_alone:
            return []
        return [self._frame(choice, {"role": "assistant", "content": ""}, "role") for choice in range(self.choices)]

    def frames(self, index: int) -> Iterator[Frame]:
        """The frames of one piece: one for each choice it belongs to."""
        piece = self.pieces[index]
        if isinstance(piece, str):
            piece = Piece("text", piece)
        if piece.kind == "no_choices":
            yield Frame(self._encode([]), "no_choices")
            return
        finish = None
        if not self.script.finish_alone and index == len(self.pieces) - 1:
            finish = self.finish_reason
        delta = _delta(piece)
        if index == 0 and not self.script.role_alone:
            delta = {"role": "assistant", **delta}
        for choice in range(self.choices) if piece.choice is None else (piece.choice,):
            yield self._frame(choice, delta, piece.kind, finish)

    def closing(self) -> list[Frame]:
        """What comes with the ending, if the body ends properly."""
        frames = []
        if self.script.ending == "error_frame":
            frames.append(Frame(b"data: " + self.error() + b"\n\n", "error"))
        elif self.finish_reason is not None:
            if self.script.finish_alone:
                frames += [self._frame(choice, {}, "finish", self.finish_reason) for choice in range(self.choices)]
            asked = (self.request.get("stream_options") or {}).get("include_usage")
            if self.script.usage is not None and (asked or self.script.usage_unasked):
                frames.append(Frame(self._encode([], usage=self._usage(self.script.usage)), "usage"))
        if self.script.done_marker:
            frames.append(Frame(b"data: [DONE]\n\n", "done"))
        return frames

    def _frame(self, choice: int, delta: dict[str, Any], kind: str, finish: str | None = None) -> Frame:
        return Frame(self._encode([{"index": choice, "delta": delta, "finish_reason": finish}]), kind)

    def _encode(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        # The head is the same in every chunk and this runs thousands of times a second.
        return f"data: {self._chunk_head},{_encode_json({'choices': choices, **more})[1:]}\n\n".encode()

    @cached_property
    def _chunk_head(self) -> str:
        return _encode_json(self._head("chat.completion.chunk"))[:-1]

    # --- Plain ----------------------------------------------------------------------------

    def body(self) -> bytes:
        choices = [
            {"index": choice, "message": self._message(choice), "finish_reason": self.finish_reason}
            for choice in range(self.choices)
        ]
        body = {**self._head("chat.completion"), "choices": choices}
        if self.script.usage is not None:
            body["usage"] = self._usage(self.script.usage)
        return _encode_json(body).encode()

    def error(self) -> bytes:
        error = {"message": self.script.error_message, "type": self.script.error_type, "param": None, "code": None}
        return _encode_json({"error": error}).encode()

    def _message(self, choice: int) -> dict[str, Any]:
        text = {"text": "", "reasoning": "", "refusal": ""}
        calls: dict[int, dict[str, Any]] = {}
        for piece in self.pieces:
            if isinstance(piece, str):
                text["text"] += piece
            elif piece.choice not in (None, choice):
                continue
            elif piece.kind == "tool_call":
                calls.setdefault(piece.tool_index, _call(piece))["function"]["arguments"] += piece.text
            elif piece.kind in text:
                text[piece.kind] += piece.text
        message: dict[str, Any] = {"role": "assistant", "content": text["text"] or None}
        if text["reasoning"]:
            message["reasoning_content"] = text["reasoning"]
        if text["refusal"]:
            message["refusal"] = text["refusal"]
        if calls:
            message["tool_calls"] = list(calls.values())
        return message

    # --- Both -----------------------------------------------------------------------------

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.number:08x}",
            "object": kind,
            "created": int(time.time()),
            "model": self.script.response_model or self.request.get("model"),
        }

    def _usage(self, usage: Usage) -> dict[str, Any]:
        kinds = [piece.kind if isinstance(piece, Piece) else "text" for piece in self.pieces]
        reasoning = kinds.count("reasoning") if usage.reasoning is None else usage.reasoning
        output = usage.output
        if output is None:
            output = self.choices * sum(kind not in ("role", "no_choices") for kind in kinds)
        prompt = usage.input
        if prompt is None:
            prompt = sum(len(token_like(text_of(message))) for message in self.request.get("messages") or ())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }


def _delta(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "role":
            return {"role": "assistant", "content": ""}
        case "reasoning":
            return {"reasoning_content": piece.text}
        case "refusal":
            return {"refusal": piece.text}
        case "tool_call":
            call: dict[str, Any] = _call(piece) if piece.tool_name else {"function": {}}
            call["function"]["arguments"] = piece.text
            call["index"] = piece.tool_index
            return {"tool_calls": [call]}
    return {"content": piece.text}


def _call(piece: Piece) -> dict[str, Any]:
    return {"id": piece.tool_id, "type": "function", "function": {"name": piece.tool_name, "arguments": ""}}
