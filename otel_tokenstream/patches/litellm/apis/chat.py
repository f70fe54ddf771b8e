"""``completion`` and ``acompletion``: chunks and answers in the shape of OpenAI's chat."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import AUDIO, EMPTY, REASONING, REFUSAL, TEXT
from otel_tokenstream.core.call.model_call import RUN
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.content_kinds import kind_of
from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
from otel_tokenstream.patches.litellm.routes import without_route
from otel_tokenstream.patches.openai_shape import as_text, get

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader
    from otel_tokenstream.core.call.tool_calls import ToolCallPiece

# Keys that litellm puts into every delta.
_USUAL = frozenset(("content", "role", "tool_calls", "function_call", "audio"))
_OF_ALL = len(_USUAL)
# Of all else only lists and objects can be media, but these are about the text, or repeat it.
_NO_MEDIA = _USUAL | {
    *("annotations", "citations", "provider_specific_fields", "reasoning_details", "reasoning_items"),
    *("logprobs", "search_results", "thinking_blocks"),
}
# A function call of the API before there were tools; it has no position.
_LEGACY = -1

_NAME_THEIR_MODEL = ("openai", "azure.ai.openai", "azure.ai.inference", "anthropic", "mistral_ai")


def reader(call: ModelCall) -> Reader:
    """Return what reads litellm's chunks.

    Attribute access on pydantic models costs more than all the rest of a read, so the usual
    chunk, the first choice with text and nothing else, is read from the models' own
    dictionaries. Where a version keeps its values elsewhere, and for every other chunk, plain
    attribute access does.
    """
    started = False
    run: list[int] | None = None

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        nonlocal started, run
        if started:
            try:
                (model,) = chunk.choices
                choice = model.__pydantic_extra__
                delta = choice["delta"]
                said = delta.__pydantic_extra__
                text = said["content"]
                if (
                    choice["finish_reason"] is not None
                    or choice["index"]
                    or said["tool_calls"] is not None
                    or said["audio"] is not None
                    or said["function_call"] is not None
                    or "reasoning_content" in delta.__pydantic_fields_set__
                    or (len(said) > _OF_ALL and (len(said) > _OF_ALL + 1 or said.get("refusal", said) is not None))
                ):
                    text = None
            except (AttributeError, KeyError, TypeError, ValueError):
                text = None
            if text and text.__class__ is str:
                if run is None:
                    call.text(read_started, arrived, text)
                    run = call.plain_run()
                else:
                    run.extend((arrived - read_started, arrived, len(text)))
                    if len(run) >= RUN:
                        call.fold_run()
                return
        else:
            started = read_first(call, chunk)
        _read_any(call, read_started, arrived, chunk)

    return read


def read_first(call: ModelCall, chunk: Any) -> bool:
    """Read what every chunk tells, and return whether this one does: Azure's first one is about the prompt."""
    call.response_id = getattr(chunk, "id", None) or None
    hidden = getattr(chunk, "_hidden_params", None) or {}
    model = served(call, hidden.get("provider_response_model"))
    if model is None:
        named = served(call, getattr(chunk, "model", None))
        # Where none was named there is the requested one: of a router's, the deployment's.
        requested = (call.request.model, call.attempts[-1].model if call.attempts else None)
        model = named if named not in requested else None
    call.response_model = model or None
    return call.response_id is not None


def read_usage(call: ModelCall, chunk: Any) -> None:
    reported = getattr(chunk, "usage", None)
    usage = None if reported is None else openai_shape.usage(reported)
    if usage is not None:
        call.usage = usage if call.usage is None else call.usage.followed_by(usage)


def read_head(call: ModelCall, answer: Any) -> None:
    """Take what a plain answer says of itself: id, model, usage, what litellm knows beside it."""
    call.response_id = getattr(answer, "id", None)
    model = served(call, getattr(answer, "model", None))
    # Where a provider names no model, litellm puts the requested one there.
    if model != call.request.model or names_its_model(call):
        call.response_model = model
    call.usage = openai_shape.usage(getattr(answer, "usage", None))
    hidden = getattr(answer, "_hidden_params", None) or {}
    call.cache_hit = hidden.get("cache_hit") is True
    cost = hidden.get("response_cost")
    if isinstance(cost, float) and cost > 0:
        call.cost_usd = cost


def read_answer(call: ModelCall, answer: Any) -> None:
    read_head(call, answer)
    for choice in getattr(answer, "choices", None) or ():
        reason = getattr(choice, "finish_reason", None)
        if reason:
            call.finish_reasons[getattr(choice, "index", 0) or 0] = str(reason)
        said = getattr(choice, "message", None)
        call.answered(getattr(choice, "text", None) if said is None else said, getattr(choice, "index", 0) or 0)


def names_its_model(call: ModelCall) -> bool:
    providers = {call.request.provider, _provider(call)}
    compatible = getattr(sys.modules.get("litellm"), "openai_compatible_providers", ())
    return not providers.isdisjoint((*_NAME_THEIR_MODEL, *compatible))


def served(call: ModelCall, model: object) -> str | None:
    """Return an answer's model without what litellm puts before it: its name for the provider, and a route."""
    if not isinstance(model, str):
        return None
    provider = _provider(call)
    if not model or model == call.request.model:
        return model
    if provider not in ("", "openai"):
        model = model.removeprefix(f"{provider}/")
    return without_route(provider, model)


def _provider(call: ModelCall) -> str:
    """Return the provider by litellm's own name."""
    return call.attempts[-1].provider if call.attempts else ""


def _read_any(call: ModelCall, read_started: int, arrived: int, chunk: Any) -> None:
    read_usage(call, chunk)
    for choice in getattr(chunk, "choices", None) or ():
        index = choice.index or 0
        for kind, piece in _pieces(choice.delta):
            if kind is TEXT and index == 0:
                call.text(read_started, arrived, piece)
            else:
                call.generated(read_started, arrived, kind, piece, index)
            read_started = 0
        for block, name in _media(choice.delta):
            call.block(read_started, arrived, kind_of(block, name), block, choice=index)
            read_started = 0
        tool_calls = _tool_calls(choice.delta)
        if tool_calls:
            call.tool_calls(read_started, arrived, tool_calls, index)
            read_started = 0
        note_reason(call, index, choice.finish_reason)
    if read_started:
        call.chunk(read_started, arrived, EMPTY, 0, None, None)


def _pieces(delta: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, what was generated) of everything a delta brings beside tool calls."""
    thought = reasoning(delta)
    if thought:
        yield REASONING, thought
    text = getattr(delta, "content", None)
    if isinstance(text, str) and text:
        yield TEXT, text
    elif isinstance(text, list):
        yield from _written(text)
    refusal = getattr(delta, "refusal", None)
    if isinstance(refusal, str) and refusal:
        yield REFUSAL, refusal
    audio = getattr(delta, "audio", None)
    if audio:
        yield AUDIO, openai_shape.transcript(audio)


def reasoning(delta: Any) -> str:
    """Return what was thought: servers have one of two names for it, or both."""
    for name in ("reasoning_content", "reasoning"):
        text = getattr(delta, name, None)
        if isinstance(text, str) and text:
            return text
    return ""


def _written(blocks: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield what is written in content that is a list, as Mistral has it."""
    for block in blocks:
        text, thought = get(block, "text"), get(block, "thinking")
        if isinstance(text, str) and text:
            yield TEXT, text
        elif isinstance(thought, list):
            yield REASONING, "".join(text for _, text in _written(thought))
        elif isinstance(thought, str):
            yield REASONING, thought


def _media(delta: Any) -> Iterator[tuple[Any, str]]:
    """Yield (block, name it has in the delta) of images, and of whatever else is neither text nor tool call."""
    content = getattr(delta, "content", None)
    if isinstance(content, list):
        yield from ((block, "") for block in content if get(block, "text") is None and get(block, "thinking") is None)
    fields = delta if isinstance(delta, dict) else getattr(delta, "__pydantic_extra__", None) or {}
    for name in fields.keys() - _NO_MEDIA:
        held = fields[name]
        for block in held if isinstance(held, list) else [held]:
            if get(block, "type") is not None or get(block, "data") is not None or get(block, "url") is not None:
                yield block, name


def _tool_calls(delta: Any) -> list[ToolCallPiece]:
    pieces: list[ToolCallPiece] = []
    for each in getattr(delta, "tool_calls", None) or ():
        called = getattr(each, "function", None) or getattr(each, "custom", None)
        written = getattr(called, "arguments", None) or getattr(called, "input", None)
        about = getattr(each, "id", None), getattr(called, "name", None)
        pieces.append((getattr(each, "index", None), *about, as_text(written)))
    function = getattr(delta, "function_call", None)
    if function:
        written = getattr(function, "arguments", None)
        pieces.append((_LEGACY, None, getattr(function, "name", None), as_text(written)))
    return pieces


def note_reason(call: ModelCall, choice: int, reason: object) -> None:
    """Take a finish reason, which some servers leave empty until the end; a ``stop`` after another one says less."""
    if reason and (choice not in call.finish_reasons or str(reason) != "stop"):
        call.finish_reasons[choice] = str(reason)


ENDPOINT = Endpoint(
    operation="chat",
    arguments=("model", "messages"),
    prompt="messages",
    reader=reader,
    read_answer=read_answer,
    fields=True,
    usage_on_request=True,
)
