"""Bedrock's own APIs: Converse, one shape for all models, and Invoke, which hands on each model's own."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.generation import Usage
from otel_tokenstream.core.timeline import EMPTY, REASONING
from otel_tokenstream.patches.litellm import chat, messages
from otel_tokenstream.patches.litellm.entry import Entry
from otel_tokenstream.patches.litellm.event_stream import EventStream
from otel_tokenstream.patches.litellm.json_object import JsonObject, parsed
from otel_tokenstream.patches.openai_shape import count, error_word, get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader

    # reads one event, and says whether it brought content
    EventReader = Callable[[int, int, str, Any], bool]

_OPTIONS = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
_METRICS = "amazon-bedrock-invocationMetrics"


def _reading(call: Generation, read_event: EventReader) -> Reader:
    events = EventStream()

    def read(asked: int, arrived: int, chunk: Any) -> None:
        for name, fields, failed in events.feed(chunk):
            if failed:
                call.error_type = error_word(name)
            elif read_event(asked, arrived, name, fields):
                asked = 0
        if asked:
            call.chunk(asked, arrived, EMPTY, 0, None, None)

    return read


# --- Converse -----------------------------------------------------------------------------


def _converse_reader(call: Generation) -> Reader:
    def read_event(asked: int, arrived: int, name: str, fields: Any) -> bool:
        return _read_event(call, asked, arrived, name, fields)

    return _reading(call, read_event)


def _read_event(call: Generation, asked: int, arrived: int, name: str, fields: Any) -> bool:
    index = count(fields, "contentBlockIndex") or 0
    if name == "contentBlockDelta":
        delta = get(fields, "delta")
        text, use, thought = (get(delta, of) for of in ("text", "toolUse", "reasoningContent"))
        if text is not None:
            call.text(asked, arrived, text)
        elif use is not None:
            call.tool_calls(asked, arrived, [(index, None, None, get(use, "input") or "")])
        elif get(thought, "text") is not None:
            call.generated(asked, arrived, REASONING, get(thought, "text"))
        else:
            return False
        return True
    if name == "contentBlockStart":
        use = get(get(fields, "start"), "toolUse")
        if use is not None:
            call.tool_calls(asked, arrived, [(index, get(use, "toolUseId"), get(use, "name"), "")])
            return True
    elif name == "messageStop":
        _read_reason(call, get(fields, "stopReason"))
    elif name == "metadata":
        call.usage = _usage(get(fields, "usage")) or call.usage
    return False


def _read_reason(call: Generation, reason: object) -> None:
    if reason is not None:
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


def _read_converse_answer(call: Generation, answer: Any) -> None:
    _read_reason(call, get(answer, "stopReason"))
    call.usage = _usage(get(answer, "usage"))
    said = get(get(answer, "output"), "message")
    if said is not None:
        call.answered(said)


# --- Invoke -------------------------------------------------------------------------------


def _invoke_reader(call: Generation) -> Reader:
    read_chat = chat.ENTRY.reader(call)

    def read_event(asked: int, arrived: int, _: str, fields: Any) -> bool:
        event = _own_event(get(fields, "bytes"))
        if not isinstance(event, JsonObject):
            return False
        content = True
        if event.choices is not None:
            read_chat(asked, arrived, event)
        elif event.type is not None:
            content = messages.read_event(call, asked, arrived, event)
        else:
            content = _read_other(call, asked, arrived, event)
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


def _read_other(call: Generation, asked: int, arrived: int, event: JsonObject) -> bool:
    """Read an event of a family that has no types of events: Nova's are Converse's, the others' a piece of text."""
    for name, fields in event.items():
        if isinstance(fields, JsonObject) and name in ("contentBlockDelta", "contentBlockStart", "messageStop"):
            return _read_event(call, asked, arrived, name, fields)
    call.usage = _usage(get(event.metadata, "usage")) or call.usage
    text = _read_text(call, event)
    if not text:
        return False
    call.text(asked, arrived, text)
    return True


def _read_text(call: Generation, event: JsonObject) -> str:
    """Llama's, Titan's, Mistral's and Cohere's names for a text and for why it ended."""
    holder = next(iter(event.outputs or event.results or (event,)))
    _read_reason(call, get(holder, "stop_reason") or get(holder, "completionReason"))
    texts = (get(holder, name) for name in ("generation", "outputText", "text", "completion"))
    return next((text for text in texts if isinstance(text, str)), "")


def _of_metrics(metrics: Any) -> Usage | None:
    counts = ("inputTokenCount", "outputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount")
    fresh, output, read, written = (count(metrics, name) for name in counts)
    return _counted(fresh, output, read, written)


def _read_invoke_answer(call: Generation, answer: Any) -> None:
    if get(answer, "choices") is not None:
        chat.ENTRY.read_answer(call, answer)
    elif get(answer, "type") is not None:
        messages.ENTRY.read_answer(call, answer)
    elif get(answer, "output") is not None:
        _read_converse_answer(call, answer)
    elif isinstance(answer, JsonObject):
        text = _read_text(call, answer)
        call.usage = _counted(count(answer, "prompt_token_count"), count(answer, "generation_token_count"), None, None)
        if text:
            call.answered(text)


def _options(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    config = asked.get("inferenceConfig")
    given = {ours: get(config, theirs) for theirs, ours in _OPTIONS.items()} if config else {}
    return {**messages.ENTRY.options(asked), **given}


CONVERSE = Entry(
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
