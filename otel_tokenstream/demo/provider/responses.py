"""The wire format of POST /v1/responses, streamed and plain."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider.reply import Frame, Reply, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Response(Reply):
    """One answer as OpenAI's Responses API gives it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._sequence = count()

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        asked = self.request.get("input")
        return asked if isinstance(asked, list) else [{"role": "user", "content": str(asked or "")}]

    @property
    def limit(self) -> int | None:
        return self.request.get("max_output_tokens")

    def opening(self) -> list[Frame]:
        return [self._event("response.created", "created", response=self._object("in_progress", output=[]))]

    def frames(self, index: int) -> Iterator[Frame]:
        piece = self.piece(index)
        place = {"item_id": f"item_{piece.tool_index}", "output_index": piece.tool_index}
        match piece.kind:
            case "reasoning":
                name = "response.reasoning_summary_text.delta"
                yield self._event(name, piece.kind, **place, summary_index=0, delta=piece.text)
            case "refusal":
                yield self._event("response.refusal.delta", piece.kind, **place, content_index=0, delta=piece.text)
            case "tool_call":
                if piece.tool_name:
                    item = self._called(piece.tool_id, piece.tool_name, "")
                    output = piece.tool_index
                    yield self._event("response.output_item.added", "item", output_index=output, item=item)
                yield self._event("response.function_call_arguments.delta", piece.kind, **place, delta=piece.text)
            case "text":
                name = "response.output_text.delta"
                yield self._event(name, piece.kind, **place, content_index=0, delta=piece.text, logprobs=[])

    def closing(self) -> list[Frame]:
        if self.script.ending == "error_frame":
            error = {"code": self.script.error_type, "message": self.script.error_message, "param": None}
            return [self._event("error", "error", **error)]
        if self.finish_reason is None:
            return []
        response = self._whole()
        return [self._event(f"response.{response['status']}", "finish", response=response)]

    def body(self) -> bytes:
        return encode_json(self._whole()).encode()

    def error(self) -> bytes:
        error = {"message": self.script.error_message, "type": self.script.error_type, "param": None, "code": None}
        return encode_json({"error": error}).encode()

    def _event(self, name: str, kind: str, **content: Any) -> Frame:
        data = encode_json({"type": name, "sequence_number": next(self._sequence), **content})
        return Frame(f"event: {name}\ndata: {data}\n\n".encode(), kind)

    def _whole(self) -> dict[str, Any]:
        reason = _INCOMPLETE.get(self.finish_reason or "")
        output: list[dict[str, Any]] = [self._called(*call) for call in self.calls()]
        texts = self.texts()
        if texts["text"]:
            content = {"type": "output_text", "text": texts["text"], "annotations": []}
            message = {"type": "message", "id": "msg_0", "role": "assistant", "status": "completed"}
            output.append({**message, "content": [content]})
        whole = self._object("completed" if reason is None else "incomplete", output)
        whole["incomplete_details"] = reason and {"reason": reason}
        counts = self.counts()
        if counts is not None:
            whole["usage"] = {
                "input_tokens": counts.prompt,
                "input_tokens_details": {"cached_tokens": counts.cached},
                "output_tokens": counts.output,
                "output_tokens_details": {"reasoning_tokens": counts.reasoning},
                "total_tokens": counts.prompt + counts.output,
            }
        return whole

    def _object(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"resp_{self.number:08x}",
            "object": "response",
            "created_at": int(time.time()),
            "model": self.model,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "output": output,
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }

    @staticmethod
    def _called(call_id: str, name: str, arguments: str) -> dict[str, Any]:
        call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "status": "completed"}
        return {**call, "name": name, "arguments": arguments}
