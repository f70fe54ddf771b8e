"""The wire format of Anthropic's POST /v1/messages, streamed and plain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider.reply import Counts, Frame, Reply, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider.script import Piece

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class Message(Reply):
    """One answer in content blocks: a new one wherever the kind of the pieces changes."""

    _block: int = -1
    _open: tuple[str, int] | None = None

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.request.get("messages") or ()

    def opening(self) -> list[Frame]:
        counts = self.counts()
        usage = {} if counts is None else {**_of_prompt(counts), "output_tokens": 1}
        return [_event("message_start", "start", message=self._object([], None, usage))]

    def frames(self, index: int) -> Iterator[Frame]:
        piece = self.piece(index)
        if piece.kind not in ("text", "reasoning", "tool_call"):
            yield _event("ping", piece.kind)
            return
        if self._open != (piece.kind, piece.tool_index):
            yield from self._stop_block()
            self._open, self._block = (piece.kind, piece.tool_index), self._block + 1
            yield _event("content_block_start", "block", index=self._block, content_block=_block(piece))
        yield _event("content_block_delta", piece.kind, index=self._block, delta=_delta(piece))

    def closing(self) -> list[Frame]:
        if self.script.ending == "error_frame":
            return [Frame(b"event: error\ndata: " + self.error() + b"\n\n", "error")]
        if self.finish_reason is None:
            return []
        counts = self.counts()
        delta = {"stop_reason": _REASONS[self.finish_reason], "stop_sequence": None}
        usage = {"output_tokens": 0 if counts is None else counts.output}
        return [
            *self._stop_block(),
            _event("message_delta", "finish", delta=delta, usage=usage),
            _event("message_stop", "done"),
        ]

    def body(self) -> bytes:
        texts, content = self.texts(), []
        if texts["reasoning"]:
            content.append({"type": "thinking", "thinking": texts["reasoning"], "signature": "c2lnbmVk"})
        if texts["text"]:
            content.append({"type": "text", "text": texts["text"]})
        content += [
            {"type": "tool_use", "id": call.call_id, "name": call.name, "input": json.loads(call.arguments or "{}")}
            for call in self.calls()
        ]
        counts = self.counts()
        usage = {} if counts is None else {**_of_prompt(counts), "output_tokens": counts.output}
        return encode_json(self._object(content, _REASONS.get(self.finish_reason or ""), usage)).encode()

    def error(self) -> bytes:
        error = {"type": self.script.error_type, "message": self.script.error_message}
        return encode_json({"type": "error", "error": error}).encode()

    def _stop_block(self) -> Iterator[Frame]:
        if self._open is not None:
            self._open = None
            yield _event("content_block_stop", "block", index=self._block)

    def _object(self, content: list[Any], reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{self.number:08x}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage,
        }


def _of_prompt(counts: Counts) -> dict[str, int]:
    """Anthropic counts cached tokens apart from the others."""
    return {
        "input_tokens": counts.prompt - counts.cached - counts.written,
        "cache_read_input_tokens": counts.cached,
        "cache_creation_input_tokens": counts.written,
    }


def _block(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "reasoning":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_call":
            return {"type": "tool_use", "id": piece.tool_id, "name": piece.tool_name, "input": {}}
    return {"type": "text", "text": ""}


def _delta(piece: Piece) -> dict[str, Any]:
    match piece.kind:
        case "reasoning":
            return {"type": "thinking_delta", "thinking": piece.text}
        case "tool_call":
            return {"type": "input_json_delta", "partial_json": piece.text}
    return {"type": "text_delta", "text": piece.text}


def _event(name: str, kind: str, **content: Any) -> Frame:
    return Frame(f"event: {name}\ndata: {encode_json({'type': name, **content})}\n\n".encode(), kind)
