"""The wire format of Gemini's POST /v1/models/<model>:generateContent and :streamGenerateContent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider.reply import Frame, Reply, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}


class GeneratedContent(Reply):
    """One answer. A tool's arguments come in one piece in this format."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        contents = self.request.get("contents") or ()
        return [{"role": each.get("role", "user"), "content": each.get("parts")} for each in contents]

    @property
    def limit(self) -> int | None:
        limit: int | None = (self.request.get("generationConfig") or {}).get("maxOutputTokens")
        return limit

    def opening(self) -> list[Frame]:
        return []

    def frames(self, index: int) -> Iterator[Frame]:
        piece = self.piece(index)
        part: dict[str, Any] = {"text": piece.text}
        if piece.kind == "reasoning":
            part["thought"] = True
        elif piece.kind == "tool_call":
            part = {"functionCall": {"name": piece.tool_name, "args": json.loads(piece.text)}}
        parts = [] if piece.kind in ("role", "no_choices") else [part]
        yield Frame(self._sent(encode_json(self._object(parts, None)).encode()), piece.kind)

    def closing(self) -> list[Frame]:
        if self.script.ending == "error_frame":
            return [Frame(self._sent(self.error()), "error")]
        if self.finish_reason is None:
            return []
        last = {**self._object([], self.finish_reason), **self._usage()}
        return [Frame(self._sent(encode_json(last).encode()), "finish")]

    def body(self) -> bytes:
        texts = self.texts()
        parts: list[dict[str, Any]] = [{"text": texts["reasoning"], "thought": True}] if texts["reasoning"] else []
        parts += [{"text": texts["text"]}] if texts["text"] else []
        parts += [{"functionCall": {"name": call.name, "args": json.loads(call.arguments)}} for call in self.calls()]
        return encode_json({**self._object(parts, self.finish_reason), **self._usage()}).encode()

    def error(self) -> bytes:
        error = {"code": self.script.status, "message": self.script.error_message, "status": self.script.error_type}
        return encode_json({"error": error}).encode()

    def _sent(self, encoded: bytes) -> bytes:
        return b"data: " + encoded + b"\n\n"

    def _object(self, parts: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if reason is not None:
            candidate["finishReason"] = _REASONS[reason]
        return {"candidates": [candidate], "modelVersion": self.model, "responseId": f"content-{self.number:08x}"}

    def _usage(self) -> dict[str, Any]:
        """Gemini counts thoughts apart from the answer."""
        counts = self.counts()
        if counts is None:
            return {}
        usage = {
            "promptTokenCount": counts.prompt,
            "thoughtsTokenCount": counts.reasoning,
            "cachedContentTokenCount": counts.cached,
            "totalTokenCount": counts.prompt + counts.output,
        }
        if counts.output > counts.reasoning:  # it leaves out an answer without tokens
            usage["candidatesTokenCount"] = counts.output - counts.reasoning
        return {"usageMetadata": usage}


class GeneratedArray(GeneratedContent):
    """The same as an array that comes bit by bit, which is what Gemini streams where nobody asks for events."""

    stream_type = "application/json"

    _begun = False

    def closing(self) -> list[Frame]:
        return [*super().closing(), Frame(b"]", "end")]

    def _sent(self, encoded: bytes) -> bytes:
        between, self._begun = b",\r\n" if self._begun else b"[", True
        return between + encoded
