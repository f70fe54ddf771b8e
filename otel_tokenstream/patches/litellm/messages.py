"""``litellm.anthropic.messages``: Anthropic's events, as bytes or as objects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.generation import Usage
from otel_tokenstream.core.timeline import EMPTY, REASONING, TOOL_CALL
from otel_tokenstream.patches.litellm.entry import Entry
from otel_tokenstream.patches.litellm.sent_events import SentEvents
from otel_tokenstream.patches.openai_shape import count, error_word, get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader

# Type of a delta: kind and the key of what was generated.
_DELTAS = {
    "thinking_delta": (REASONING, "thinking"),
    "input_json_delta": (TOOL_CALL, "partial_json"),
}


# A block that calls a tool: the program's, Anthropic's own, one of an MCP server.
_TOOL_BLOCKS = ("tool_use", "server_tool_use", "mcp_tool_use")


def _reader(call: Generation) -> Reader:
    events = SentEvents()

    def read(asked: int, arrived: int, chunk: Any) -> None:
        for event in events.feed(chunk):
            if read_event(call, asked, arrived, event):
                asked = 0
        if asked:
            call.chunk(asked, arrived, EMPTY, 0, None, None)

    return read


def read_event(call: Generation, asked: int, arrived: int, event: Any) -> bool:
    """Whether the event brought content."""
    name = get(event, "type")
    if name == "content_block_delta":
        delta = get(event, "delta")
        of = get(delta, "type")
        if of == "text_delta":
            call.text(asked, arrived, get(delta, "text") or "")
            return True
        if of in _DELTAS:
            kind, key = _DELTAS[of]
            piece = get(delta, key) or ""
            if kind is TOOL_CALL:
                call.tool_calls(asked, arrived, [(get(event, "index") or 0, None, None, piece)])
            else:
                call.generated(asked, arrived, kind, piece)
            return True
    elif name == "content_block_start" and get(get(event, "content_block"), "type") in _TOOL_BLOCKS:
        block = get(event, "content_block")
        call.tool_calls(asked, arrived, [(get(event, "index") or 0, get(block, "id"), get(block, "name"), "")])
        return True
    elif name == "message_start":
        _read_head(call, get(event, "message"))
        if call.usage is not None:  # what stands there of the answer is where its count begins
            call.usage = replace(call.usage, output=None)
    elif name == "message_delta":
        _read_reason(call, get(event, "delta"))
        _read_usage(call, get(event, "usage"))
    elif name == "error":
        call.error_type = error_word(get(get(event, "error"), "type"))
    return False


def _read_head(call: Generation, message: Any) -> None:
    call.response_id = get(message, "id")
    call.response_model = get(message, "model")
    _read_usage(call, get(message, "usage"))


def _read_reason(call: Generation, holder: Any) -> None:
    reason = get(holder, "stop_reason")
    if reason is not None:
        call.finish_reasons[0] = str(reason)


def _read_usage(call: Generation, reported: Any) -> None:
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


def _read_answer(call: Generation, answer: Any) -> None:
    _read_head(call, answer)
    _read_reason(call, answer)
    call.answered(answer)


def _options(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**asked, "stop": asked.get("stop_sequences"), "response_format": asked.get("output_format")}


ENTRY = Entry(
    operation="chat",
    arguments=("max_tokens", "messages", "model"),
    prompt="messages",
    reader=_reader,
    read_answer=_read_answer,
    options=_options,
    fields=True,
)
