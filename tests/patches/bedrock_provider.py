"""Bedrock's runtime API on the scripted provider: its paths, its JSON, and AWS event-stream frames built by hand."""

from __future__ import annotations

import base64
import json
import struct
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar
from zlib import crc32

from aiohttp import web

from otel_tokenstream.demo.provider import ScriptedProvider
from otel_tokenstream.demo.provider.chat_completions import ChatCompletion
from otel_tokenstream.demo.provider.messages import Message
from otel_tokenstream.demo.provider.reply import Frame, Reply, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STREAM_TYPE = "application/vnd.amazon.eventstream"
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "guardrail"}


class BedrockProvider(ScriptedProvider):
    """Has Azure's path of OpenAI's chat as well."""

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.post("/openai/v1/chat/completions", partial(self.answer, ChatCompletion)),
            *(
                web.post(f"/model/{{model}}/{action}", partial(self._bedrock, reply, streamed))
                for action, reply, streamed in (
                    ("converse", Converse, False),
                    ("converse-stream", Converse, True),
                    ("invoke", Invoke, False),
                    ("invoke-with-response-stream", Invoke, True),
                )
            ),
        ]

    async def _bedrock(self, reply: type[Reply], streamed: bool, request: web.Request) -> web.StreamResponse:
        return await self.answer(reply, request, model=request.match_info["model"], stream=streamed)


def framed(payload: bytes, **headers: str) -> bytes:
    """One frame: lengths, their CRC, headers of strings, the payload, the CRC of it all.

    The names of headers begin with a colon and have hyphens: ``event_type`` is ``:event-type``.
    """
    head = b""
    for name, value in headers.items():
        spelt = f":{name.replace('_', '-')}".encode()
        head += struct.pack(f">B{len(spelt)}sBH", len(spelt), spelt, 7, len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return message + struct.pack(">I", crc32(message))


def event(name: str, **fields: Any) -> bytes:
    headers = {"event_type": name, "content_type": "application/json", "message_type": "event"}
    return framed(encode_json({**fields, "p": "abcdef"}).encode(), **headers)


def failure(name: str, message: str) -> bytes:
    headers = {"exception_type": name, "content_type": "application/json", "message_type": "exception"}
    return framed(encode_json({"message": message}).encode(), **headers)


class _Bedrock(Reply):
    stream_type: ClassVar[str] = STREAM_TYPE

    def error(self) -> bytes:
        return encode_json({"message": self.script.error_message}).encode()


class Converse(_Bedrock):
    """Bedrock's own shape, for all models alike."""

    _block = -1
    _open: tuple[str, int] | None = None

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self.request.get("messages") or ()

    def opening(self) -> list[Frame]:
        return [Frame(event("messageStart", role="assistant"), "start")]

    def frames(self, index: int) -> Iterator[Frame]:
        piece = self.piece(index)
        if self._open != (piece.kind, piece.tool_index):
            yield from self._stop_block()
            self._open, self._block = (piece.kind, piece.tool_index), self._block + 1
            if piece.kind == "tool_call":
                start = {"toolUse": {"toolUseId": piece.tool_id, "name": piece.tool_name}}
                yield Frame(event("contentBlockStart", contentBlockIndex=self._block, start=start), "block")
        delta = {
            "text": {"text": piece.text},
            "reasoning": {"reasoningContent": {"text": piece.text}},
            "tool_call": {"toolUse": {"input": piece.text}},
        }[piece.kind]
        yield Frame(event("contentBlockDelta", contentBlockIndex=self._block, delta=delta), piece.kind)

    def closing(self) -> list[Frame]:
        if self.script.ending == "error_frame":
            return [Frame(failure(self.script.error_type, self.script.error_message), "error")]
        if self.finish_reason is None:
            return []
        stop = event("messageStop", stopReason=_REASONS[self.finish_reason])
        metadata = event("metadata", usage=self._usage(), metrics={"latencyMs": 7})
        return [*self._stop_block(), Frame(stop, "finish"), Frame(metadata, "usage")]

    def body(self) -> bytes:
        texts, content = self.texts(), []
        if texts["reasoning"]:
            content.append({"reasoningContent": {"reasoningText": {"text": texts["reasoning"], "signature": "x"}}})
        if texts["text"]:
            content.append({"text": texts["text"]})
        content += [
            {"toolUse": {"toolUseId": call.call_id, "name": call.name, "input": json.loads(call.arguments)}}
            for call in self.calls()
        ]
        message = {"role": "assistant", "content": content}
        reason = _REASONS[self.finish_reason or "stop"]
        answer = {"output": {"message": message}, "stopReason": reason, "usage": self._usage()}
        return encode_json({**answer, "metrics": {"latencyMs": 7}}).encode()

    def _stop_block(self) -> Iterator[Frame]:
        if self._open is not None:
            self._open = None
            yield Frame(event("contentBlockStop", contentBlockIndex=self._block), "block")

    def _usage(self) -> dict[str, int]:
        counts = self.counts()
        if counts is None:
            return {}
        return {
            "inputTokens": counts.prompt - counts.cached,
            "outputTokens": counts.output,
            "totalTokens": counts.prompt + counts.output,
            "cacheReadInputTokens": counts.cached,
            "cacheWriteInputTokens": 0,
        }


class Invoke(Message):
    """Anthropic's own answer: whole, or its events in base64."""

    stream_type: ClassVar[str] = STREAM_TYPE

    def opening(self) -> list[Frame]:
        return [_invoked(frame) for frame in super().opening()]

    def frames(self, index: int) -> Iterator[Frame]:
        return (_invoked(frame) for frame in super().frames(index))

    def closing(self) -> list[Frame]:
        if self.script.ending == "error_frame":
            return [Frame(failure(self.script.error_type, self.script.error_message), "error")]
        return [_invoked(frame) for frame in super().closing()]

    def error(self) -> bytes:
        return encode_json({"message": self.script.error_message}).encode()


def invoked(own: bytes) -> bytes:
    """A frame with a piece of JSON of the model's own."""
    return event("chunk", bytes=base64.b64encode(own).decode())


def _invoked(frame: Frame) -> Frame:
    return Frame(invoked(frame.data.partition(b"data: ")[2].strip()), frame.kind)
