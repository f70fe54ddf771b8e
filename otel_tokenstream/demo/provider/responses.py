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
        # Items by family and number, and the kinds of a message's parts, in the order in which they came.
        self._items: dict[tuple[str, int], int] = {}
        self._parts: list[str] = []

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
        match piece.kind:
            case "reasoning":
                name = "response.reasoning_summary_text.delta"
                yield self._event(name, piece.kind, **self._place("reasoning"), summary_index=0, delta=piece.text)
            case "refusal":
                yield from self._announcing({"type": "refusal", "refusal": ""})
                place = self._place("message", part="refusal")
                yield self._event("response.refusal.delta", piece.kind, **place, delta=piece.text)
            case "tool_call":
                place = self._place("call", piece.tool_index)
                if piece.tool_name:
                    item = self._called(piece.tool_id, piece.tool_name, "")
                    yield self._event(
                        "response.output_item.added", "item", output_index=place["output_index"], item=item
                    )
                yield self._event("response.function_call_arguments.delta", piece.kind, **place, delta=piece.text)
            case "text":
                yield from self._announcing({"type": "output_text", "text": "", "annotations": [], "logprobs": []})
                place = self._place("message", part="output_text")
                yield self._event("response.output_text.delta", piece.kind, **place, delta=piece.text, logprobs=[])

    def _place(self, family: str, number: int = 0, part: str | None = None) -> dict[str, Any]:
        """Return where an item stands among the others, and the part of a message in it."""
        output = self._items.setdefault((family, number), len(self._items))
        place = {"item_id": f"item_{output}", "output_index": output}
        return place if part is None else {**place, "content_index": self._parts.index(part)}

    def _announcing(self, part: dict[str, Any]) -> Iterator[Frame]:
        """Announce a message and its part before the first of its text, as OpenAI's own helpers expect it."""
        kind = part["type"]
        if kind in self._parts:
            return
        self._parts.append(kind)
        place = self._place("message", part=kind)
        if len(self._parts) == 1:
            item = self._message(place["item_id"], "in_progress", [])
            yield self._event("response.output_item.added", "item", output_index=place["output_index"], item=item)
        yield self._event("response.content_part.added", "part", **place, part=part)

    def _finishing(self) -> Iterator[Frame]:
        """Say of each part and item that it is whole."""
        calls = self.calls()
        for (family, _), output in self._items.items():
            if family == "message":
                yield from self._finishing_message()
            elif family == "call":
                item = self._called(*calls.pop(0))
                place = {"item_id": f"item_{output}", "output_index": output}
                yield self._event(
                    "response.function_call_arguments.done",
                    "done",
                    **place,
                    name=item["name"],
                    arguments=item["arguments"],
                )
                yield self._event("response.output_item.done", "item", output_index=output, item=item)

    def _finishing_message(self) -> Iterator[Frame]:
        place = self._place("message")
        whole = [self._whole_part(kind) for kind in self._parts]
        for index, part in enumerate(whole):
            more: dict[str, Any] = {"logprobs": []} if "text" in part else {}
            said = {name: value for name, value in part.items() if name in ("text", "refusal")}
            yield self._event(f"response.{part['type']}.done", "done", **place, content_index=index, **said, **more)
            yield self._event("response.content_part.done", "part", **place, content_index=index, part=part)
        item = self._message(place["item_id"], "completed", whole)
        yield self._event("response.output_item.done", "item", output_index=place["output_index"], item=item)

    def _whole_part(self, kind: str) -> dict[str, Any]:
        texts = self.texts()
        if kind == "refusal":
            return {"type": kind, "refusal": texts["refusal"]}
        return {"type": kind, "text": texts["text"], "annotations": [], "logprobs": []}

    def closing(self) -> list[Frame]:
        if self.script.ending == "error_frame":
            error = {"code": self.script.error_type, "message": self.script.error_message, "param": None}
            return [self._event("error", "error", **error)]
        if self.finish_reason is None:
            return []
        response = self._whole()
        return [*self._finishing(), self._event(f"response.{response['status']}", "finish", response=response)]

    def body(self) -> bytes:
        return encode_json(self._whole()).encode()

    def error(self) -> bytes:
        error = {"message": self.script.error_message, "type": self.script.error_type, "param": None, "code": None}
        return encode_json({"error": error}).encode()

    def _event(self, name: str, kind: str, /, **content: Any) -> Frame:
        data = encode_json({"type": name, "sequence_number": next(self._sequence), **content})
        return Frame(f"event: {name}\ndata: {data}\n\n".encode(), kind)

    def _whole(self) -> dict[str, Any]:
        reason = _INCOMPLETE.get(self.finish_reason or "")
        output: list[dict[str, Any]] = [self._called(*call) for call in self.calls()]
        if self.texts()["text"]:
            output.append(self._message("msg_0", "completed", [self._whole_part("output_text")]))
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
    def _message(item_id: str, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"type": "message", "id": item_id, "role": "assistant", "status": status, "content": content}

    @staticmethod
    def _called(call_id: str, name: str, arguments: str) -> dict[str, Any]:
        call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "status": "completed"}
        return {**call, "name": name, "arguments": arguments}
