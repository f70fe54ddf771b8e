"""The wire format of POST /v1/completions, streamed and plain. Every piece with a text is text here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider.chat_completions import usage_object
from otel_tokenstream.demo.provider.reply import Frame, Reply, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class TextCompletion(Reply):
    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return [{"role": "user", "content": str(self.request.get("prompt") or "")}]

    def opening(self) -> list[Frame]:
        return []

    def frames(self, index: int) -> Iterator[Frame]:
        piece = self.piece(index)
        for choice in range(self.choices) if piece.choice is None else (piece.choice,):
            yield Frame(_sent(self._object(self._choice(choice, piece.text))), piece.kind)

    def closing(self) -> list[Frame]:
        frames = []
        if self.script.ending == "error_frame":
            frames.append(Frame(b"data: " + self.error() + b"\n\n", "error"))
        elif self.finish_reason is not None:
            frames += [
                Frame(_sent(self._object(self._choice(choice, "", self.finish_reason))), "finish")
                for choice in range(self.choices)
            ]
            asked, counts = (self.request.get("stream_options") or {}).get("include_usage"), self.counts()
            if counts is not None and (asked or self.script.usage_unasked):
                frames.append(Frame(_sent({**self._object(), "usage": usage_object(counts)}), "usage"))
        if self.script.done_marker:
            frames.append(Frame(b"data: [DONE]\n\n", "done"))
        return frames

    def body(self) -> bytes:
        choices = [
            self._choice(choice, self.texts(choice)["text"], self.finish_reason) for choice in range(self.choices)
        ]
        body, counts = self._object(*choices), self.counts()
        if counts is not None:
            body["usage"] = usage_object(counts)
        return encode_json(body).encode()

    def error(self) -> bytes:
        return encode_json({"error": {"message": self.script.error_message, "type": self.script.error_type}}).encode()

    def _object(self, *choices: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self.number:08x}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": choices,
        }

    @staticmethod
    def _choice(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _sent(content: dict[str, Any]) -> bytes:
    return f"data: {encode_json(content)}\n\n".encode()
