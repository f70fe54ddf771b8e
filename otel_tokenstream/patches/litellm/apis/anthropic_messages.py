"""``litellm.anthropic.messages``: Anthropic's events, as bytes or as objects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY, REASONING, TOOL_CALL, TOOL_RESULT
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.core.content.messages import plain
from otel_tokenstream.patches.content_kinds import kind_of
from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
from otel_tokenstream.patches.litellm.transport.sse import SentEvents
from otel_tokenstream.patches.openai_shape import count, error_word, get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader

# Type of a delta: kind and the key of what was generated.
_DELTAS = {
    "thinking_delta": (REASONING, "thinking"),
    "input_json_delta": (TOOL_CALL, "partial_json"),
}
# Deltas that say something about a block's content.
_ABOUT_BLOCKS = ("signature_delta", "citations_delta", None)
# A block that calls a tool: the program's, Anthropic's own, one of an MCP server.
_TOOL_BLOCKS = ("tool_use", "server_tool_use", "mcp_tool_use")


def _reader(call: ModelCall) -> Reader:
    events, blocks = SentEvents(), Blocks(call)

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        for event in events.feed(chunk):
            if blocks.read(read_started, arrived, event):
                read_started = 0
        if read_started:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)

    return read


class Blocks:
    """Reads the events of one stream, in which a block's content comes in deltas, or whole with its start."""

    def __init__(self, call: ModelCall) -> None:
        self._call = call
        # Arguments that came with a tool call's start: the deltas after it would say them once more.
        self._whole: dict[int, str] = {}

    def read(self, read_started: int, arrived: int, event: Any) -> bool:
        """Return whether the event brought content."""
        name, index = get(event, "type"), get(event, "index") or 0
        if name == "content_block_delta":
            self._whole.pop(index, None)
            return self._delta(read_started, arrived, index, get(event, "delta"))
        if name == "content_block_start":
            return self._start(read_started, arrived, index, get(event, "content_block"))
        if name == "content_block_stop":
            arguments = self._whole.pop(index, "")
            if arguments:
                self._call.tool_calls(read_started, arrived, [(index, None, None, arguments)])
            return bool(arguments)
        _read_about(self._call, name, event)
        return False

    def _delta(self, read_started: int, arrived: int, index: int, delta: Any) -> bool:
        call, kind = self._call, get(delta, "type")
        if kind == "text_delta":
            call.text(read_started, arrived, get(delta, "text") or "")
        elif kind in _DELTAS:
            of, key = _DELTAS[kind]
            piece = get(delta, key) or ""
            if of is TOOL_CALL:
                call.tool_calls(read_started, arrived, [(index, None, None, piece)])
            else:
                call.generated(read_started, arrived, of, piece)
        elif kind in _ABOUT_BLOCKS:
            return False
        else:
            call.block(read_started, arrived, kind_of(delta), delta)
        return True

    def _start(self, read_started: int, arrived: int, index: int, block: Any) -> bool:
        call, kind = self._call, get(block, "type")
        text = get(block, "text") if kind == "text" else get(block, "thinking") if kind == "thinking" else None
        if kind in _TOOL_BLOCKS:
            given = get(block, "input")
            if given:
                self._whole[index] = json.dumps(plain(given), ensure_ascii=False, default=str)
            call.tool_calls(read_started, arrived, [(index, get(block, "id"), get(block, "name"), "")])
        elif kind in ("text", "thinking"):
            if text and kind == "text":
                call.text(read_started, arrived, text)
            elif text:
                call.generated(read_started, arrived, REASONING, text)
            return bool(text)
        elif kind is None:
            return False
        else:
            of = TOOL_RESULT if str(kind).endswith("_result") else kind_of(block)
            of = REASONING if kind == "redacted_thinking" else of
            call.block(read_started, arrived, of, block, at=index)
        return True


def _read_about(call: ModelCall, name: Any, event: Any) -> None:
    if name == "message_start":
        _read_head(call, get(event, "message"))
        if call.usage is not None:  # what stands there of the answer is where its count begins
            call.usage = replace(call.usage, output=None)
    elif name == "message_delta":
        _read_reason(call, get(event, "delta"))
        _read_usage(call, get(event, "usage"))
    elif name == "error":
        call.error_type = error_word(get(get(event, "error"), "type"))


def _read_head(call: ModelCall, message: Any) -> None:
    call.response_id = get(message, "id")
    call.response_model = get(message, "model")
    _read_usage(call, get(message, "usage"))


def _read_reason(call: ModelCall, holder: Any) -> None:
    reason = get(holder, "stop_reason")
    if reason:
        call.finish_reasons[0] = str(reason)


def _read_usage(call: ModelCall, reported: Any) -> None:
    """Take counts: the first event has the prompt's, the last one the answer's and sometimes all again."""
    before = call.usage or Usage()
    read = _first(count(reported, "cache_read_input_tokens"), before.cache_read)
    written = _first(count(reported, "cache_creation_input_tokens"), before.cache_write)
    fresh = count(reported, "input_tokens")
    # The convention's input includes cached tokens, which Anthropic counts apart.
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    prompt = before.input if not fresh and before.input else prompt
    output = _first(count(reported, "output_tokens"), before.output)
    if prompt or output:
        thinking = count(get(reported, "output_tokens_details"), "thinking_tokens")
        reasoning = _first(thinking, before.reasoning)
        call.usage = Usage(prompt, output, cache_read=read, cache_write=written, reasoning=reasoning)


def _first(value: int | None, otherwise: int | None) -> int | None:
    return otherwise if value is None else value


def _read_answer(call: ModelCall, answer: Any) -> None:
    _read_head(call, answer)
    _read_reason(call, answer)
    call.answered(answer)


def _options(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        **arguments,
        "stop": arguments.get("stop_sequences"),
        "response_format": arguments.get("output_format"),
        "compacted": _is_compacted(arguments.get("messages")),
    }


def _is_compacted(given: Any) -> bool:
    if not isinstance(given, list):
        return False
    blocks = (content for message in given if isinstance(content := get(message, "content"), list))
    return any(get(block, "type") == "compaction" for content in blocks for block in content)


ENDPOINT = Endpoint(
    operation="chat",
    arguments=("max_tokens", "messages", "model"),
    prompt="messages",
    reader=_reader,
    read_answer=_read_answer,
    options=_options,
    fields=True,
)
