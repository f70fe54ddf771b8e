"""``completion`` and ``acompletion``: chunks and answers in the shape of OpenAI's chat."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.generation import RUN
from otel_tokenstream.core.timeline import AUDIO, EMPTY, REASONING, REFUSAL, TEXT
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.core.generation import Generation, ToolCallPiece
    from otel_tokenstream.core.streams import Reader

_NAME_THEIR_MODEL = ("openai", "azure.ai.openai", "azure.ai.inference", "anthropic", "mistral_ai")


def reader(call: Generation) -> Reader:
    """Return what reads litellm's chunks.

    Attribute access on pydantic models costs more than all the rest of a read, so the usual
    chunk, the first choice with text and nothing else, is read from the models' own
    dictionaries. Where a version keeps its values elsewhere, and for every other chunk, plain
    attribute access does.
    """
    started = False
    run: list[int] | None = None

    def read(asked: int, arrived: int, chunk: Any) -> None:
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
                    or ("refusal" in said and said["refusal"] is not None)
                ):
                    text = None
            except (AttributeError, KeyError, TypeError, ValueError):
                text = None
            if text:
                if run is None:
                    call.text(asked, arrived, text)
                    run = call.plain_run()
                else:
                    run.extend((arrived - asked, arrived, len(text)))
                    if len(run) >= RUN:
                        call.fold_run()
                return
        else:
            started = read_first(call, chunk)
        _read_any(call, asked, arrived, chunk)

    return read


def read_first(call: Generation, chunk: Any) -> bool:
    """Read what every chunk tells, and return whether this one does: Azure's first one is about the prompt."""
    call.response_id = getattr(chunk, "id", None) or None
    hidden = getattr(chunk, "_hidden_params", None) or {}
    model = _served(call, hidden.get("provider_response_model"))
    if model is None:
        named = _served(call, getattr(chunk, "model", None))
        model = named if named != call.request.model else None  # requested, which is there where none was named
    call.response_model = model or None
    return call.response_id is not None


def read_usage(call: Generation, chunk: Any) -> None:
    usage = getattr(chunk, "usage", None)
    if usage is not None:
        call.usage = openai_shape.usage(usage) or call.usage


def read_head(call: Generation, answer: Any) -> None:
    """Take what a plain answer says of itself: id, model, usage, what litellm knows beside it."""
    call.response_id = getattr(answer, "id", None)
    model = _served(call, getattr(answer, "model", None))
    # Where a provider names no model, litellm puts the requested one there.
    if model != call.request.model or names_its_model(call):
        call.response_model = model
    call.usage = openai_shape.usage(getattr(answer, "usage", None))
    hidden = getattr(answer, "_hidden_params", None) or {}
    call.cache_hit = hidden.get("cache_hit") is True
    cost = hidden.get("response_cost")
    if isinstance(cost, float) and cost > 0:
        call.cost_usd = cost


def read_answer(call: Generation, answer: Any) -> None:
    read_head(call, answer)
    for choice in getattr(answer, "choices", None) or ():
        reason = getattr(choice, "finish_reason", None)
        if reason is not None:
            call.finish_reasons[getattr(choice, "index", 0) or 0] = str(reason)
        said = getattr(choice, "message", None)
        call.answered(getattr(choice, "text", None) if said is None else said, getattr(choice, "index", 0) or 0)


def names_its_model(call: Generation) -> bool:
    providers = {call.request.provider, _provider(call)}
    return not providers.isdisjoint((*_NAME_THEIR_MODEL, *sys.modules["litellm"].openai_compatible_providers))


def _served(call: Generation, model: str | None) -> str | None:
    """Return an answer's model without litellm's name for the provider, which plain answers have before it."""
    provider = _provider(call)
    if model is None or provider in ("", "openai") or model == call.request.model:
        return model
    return model.removeprefix(f"{provider}/")


def _provider(call: Generation) -> str:
    """Return who is asked, by litellm's own name."""
    return call.attempts[-1].provider if call.attempts else ""


def _read_any(call: Generation, asked: int, arrived: int, chunk: Any) -> None:
    read_usage(call, chunk)
    for choice in getattr(chunk, "choices", None) or ():
        index = choice.index or 0
        for kind, piece in _pieces(choice.delta):
            if kind is TEXT and index == 0:
                call.text(asked, arrived, piece)
            else:
                call.generated(asked, arrived, kind, piece, index)
            asked = 0
        tool_calls = _tool_calls(choice.delta)
        if tool_calls:
            call.tool_calls(asked, arrived, tool_calls, index)
            asked = 0
        if choice.finish_reason is not None:
            call.finish_reasons[index] = str(choice.finish_reason)
    if asked:
        call.chunk(asked, arrived, EMPTY, 0, None, None)


def _pieces(delta: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, what was generated) of everything a delta brings beside tool calls."""
    reasoning = getattr(delta, "reasoning_content", None)
    if reasoning:
        yield REASONING, reasoning
    text = getattr(delta, "content", None)
    if text:
        yield TEXT, text
    refusal = getattr(delta, "refusal", None)
    if refusal:
        yield REFUSAL, refusal
    audio = getattr(delta, "audio", None)
    if audio:
        yield AUDIO, openai_shape.get(audio, "transcript") or ""


def _tool_calls(delta: Any) -> list[ToolCallPiece]:
    pieces: list[ToolCallPiece] = []
    for each in getattr(delta, "tool_calls", None) or ():
        function = getattr(each, "function", None)
        arguments = getattr(function, "arguments", None) or ""
        pieces.append((getattr(each, "index", 0) or 0, each.id, getattr(function, "name", None), arguments))
    function = getattr(delta, "function_call", None)
    if function:
        pieces.append((0, None, getattr(function, "name", None), getattr(function, "arguments", None) or ""))
    return pieces


ENTRY = Entry(
    operation="chat",
    arguments=("model", "messages"),
    prompt="messages",
    reader=reader,
    read_answer=read_answer,
    fields=True,
    usage_on_request=True,
)
