"""Bedrock's own APIs: Converse, one shape for all models, and Invoke, which hands on each model's own."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY, REASONING, TOOL_RESULT
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.patches.content_kinds import kind_of
from otel_tokenstream.patches.litellm.apis import anthropic_messages, chat
from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
from otel_tokenstream.patches.litellm.transport.aws_event_stream import EventStream
from otel_tokenstream.patches.litellm.transport.json_stream import JsonObject, parsed
from otel_tokenstream.patches.openai_shape import count, error_word, get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader

    # reads one event, and says whether it brought content
    EventReader = Callable[[int, int, str, Any], bool]

_OPTIONS = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
_ABOUT_CONTENT = ("citation",)
_METRICS = "amazon-bedrock-invocationMetrics"


def _reading(call: ModelCall, read_event: EventReader) -> Reader:
    events = EventStream()

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        for name, fields, failed in events.feed(chunk):
            if failed:
                call.error_type = error_word(name)
            elif read_event(read_started, arrived, name, fields):
                read_started = 0
        if read_started:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)

    return read


# --- Converse -----------------------------------------------------------------------------


def _converse_reader(call: ModelCall) -> Reader:
    def read_event(read_started: int, arrived: int, name: str, fields: Any) -> bool:
        return _read_event(call, read_started, arrived, name, fields)

    return _reading(call, read_event)


def _read_event(call: ModelCall, read_started: int, arrived: int, name: str, fields: Any) -> bool:
    index = count(fields, "contentBlockIndex") or 0
    if name == "contentBlockDelta":
        delta = get(fields, "delta")
        text, use, thought = (get(delta, of) for of in ("text", "toolUse", "reasoningContent"))
        if text is not None:
            call.text(read_started, arrived, text)
        elif use is not None:
            call.tool_calls(read_started, arrived, [(index, None, None, get(use, "input") or "")])
        elif get(thought, "text") is not None:
            call.generated(read_started, arrived, REASONING, get(thought, "text"))
        elif thought is not None:
            if not get(thought, "redactedContent"):  # a signature
                return False
            call.generated(read_started, arrived, REASONING, "")
        else:
            return _read_block(call, read_started, arrived, index, delta)
        return True
    if name == "contentBlockStart":
        use = get(get(fields, "start"), "toolUse")
        if use is not None:
            call.tool_calls(read_started, arrived, [(index, get(use, "toolUseId"), get(use, "name"), "")])
            return True
        return _read_block(call, read_started, arrived, index, get(fields, "start"))
    if name == "messageStop":
        _read_reason(call, get(fields, "stopReason"))
    elif name == "metadata":
        call.usage = _usage(get(fields, "usage")) or call.usage
    return False


def _read_block(call: ModelCall, read_started: int, arrived: int, index: int, block: Any) -> bool:
    """Read content that is no text: media, a tool's result, or what is newer than this code, by its field's name."""
    name = next((each for each in block or () if each not in _ABOUT_CONTENT), None)
    if name is None:
        return False
    call.block(read_started, arrived, TOOL_RESULT if name == "toolResult" else kind_of({}, name), block, at=index)
    return True


def _read_reason(call: ModelCall, reason: object) -> None:
    if reason:
        call.finish_reasons[0] = str(reason)


def _usage(reported: Any) -> Usage | None:
    read, written = count(reported, "cacheReadInputTokens"), count(reported, "cacheWriteInputTokens")
    return _counted(count(reported, "inputTokens"), count(reported, "outputTokens"), read, written)


def _counted(fresh: int | None, output: int | None, read: int | None, written: int | None) -> Usage | None:
    """The convention's input includes cached tokens, which Bedrock counts apart."""
    if not fresh and not output:
        return None
    prompt = None if fresh is None else fresh + (read or 0) + (written or 0)
    return Usage(prompt, output, cache_read=read, cache_write=written)


def _read_converse_answer(call: ModelCall, answer: Any) -> None:
    _read_reason(call, get(answer, "stopReason"))
    call.usage = _usage(get(answer, "usage"))
    said = get(get(answer, "output"), "message")
    if said is not None:
        call.answered(said)


# --- Invoke -------------------------------------------------------------------------------


def _invoke_reader(call: ModelCall) -> Reader:
    read_chat, blocks = chat.ENDPOINT.reader(call), anthropic_messages.Blocks(call)

    def read_event(read_started: int, arrived: int, _: str, fields: Any) -> bool:
        event = _own_event(get(fields, "bytes"))
        if not isinstance(event, JsonObject):
            return False
        content = True
        if event.choices is not None:
            read_chat(read_started, arrived, event)
        elif event.type is not None:
            content = blocks.read(read_started, arrived, event)
        else:
            content = _read_other(call, read_started, arrived, event)
        metrics = get(event, _METRICS)
        if call.usage is None and metrics is not None:
            call.usage = _of_metrics(metrics)
        return content

    return _reading(call, read_event)


def _own_event(encoded: object) -> Any:
    try:
        return parsed(b64decode(encoded)) if isinstance(encoded, str) else None
    except ValueError:
        return None


def _read_other(call: ModelCall, read_started: int, arrived: int, event: JsonObject) -> bool:
    """Read an event of a family that has no types of events: Nova's are Converse's, the others' a piece of text."""
    for name, fields in event.items():
        if isinstance(fields, JsonObject) and name in ("contentBlockDelta", "contentBlockStart", "messageStop"):
            return _read_event(call, read_started, arrived, name, fields)
    call.usage = _usage(get(event.metadata, "usage")) or call.usage
    text = _read_text(call, event)
    if not text:
        return False
    call.text(read_started, arrived, text)
    return True


def _read_text(call: ModelCall, event: JsonObject) -> str:
    """Llama's, Titan's, Mistral's and Cohere's names for a text and for why it ended."""
    holder = next(iter(event.outputs or event.results or (event,)))
    _read_reason(call, get(holder, "stop_reason") or get(holder, "completionReason"))
    texts = (get(holder, name) for name in ("generation", "outputText", "text", "completion"))
    return next((text for text in texts if isinstance(text, str)), "")


def _of_metrics(metrics: Any) -> Usage | None:
    counts = ("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount")
    fresh, output, read, written = (count(metrics, name) for name in counts)
    return _counted(fresh, output, read, written)


def _read_invoke_answer(call: ModelCall, answer: Any) -> None:
    if get(answer, "choices") is not None:
        chat.ENDPOINT.read_answer(call, answer)
    elif get(answer, "type") is not None:
        anthropic_messages.ENDPOINT.read_answer(call, answer)
    elif get(answer, "output") is not None:
        _read_converse_answer(call, answer)
    elif isinstance(answer, JsonObject):
        text = _read_text(call, answer)
        call.usage = _counted(count(answer, "prompt_token_count"), count(answer, "generation_token_count"), None, None)
        if text:
            call.answered(text)


def _options(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    config = arguments.get("inferenceConfig")
    given = {ours: get(config, theirs) for theirs, ours in _OPTIONS.items()} if config else {}
    return {**anthropic_messages.ENDPOINT.options(arguments), **given}


CONVERSE = Endpoint(
    operation="chat",
    arguments=(),
    prompt="messages",
    reader=_converse_reader,
    read_answer=_read_converse_answer,
    options=_options,
    streamed=lambda _: False,
)
CONVERSE_STREAM = replace(CONVERSE, streamed=lambda _: True)
INVOKE = replace(CONVERSE, reader=_invoke_reader, read_answer=_read_invoke_answer)
INVOKE_STREAM = replace(INVOKE, streamed=lambda _: True)
