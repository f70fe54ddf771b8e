"""Calls of litellm's entries on the scripted provider, drained whatever they give."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.call.model_call import COMPLETED
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import active
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tokenstream.demo.provider import Script, ScriptedProvider
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
    from otel_tokenstream.testing import Capture, Generation

QUESTION = [{"role": "user", "content": "Why are there tides?"}]


def at(provider: ScriptedProvider, scripts: dict[str, Script | Sequence[Script]]) -> dict[str, Any]:
    """Arguments that lead a call to the provider, where models answer by these scripts."""
    provider.scripts |= scripts
    return {"api_base": provider.base_url, "api_key": "none"}


async def drained(function: Callable[..., Any], *given: Any, **arguments: Any) -> list[Any]:
    """What a sync or async call gives: the chunks of its stream, or the answer alone."""
    result = function(*given, **arguments)
    if inspect.isawaitable(result):
        result = await result
    if hasattr(type(result), "__anext__") and not hasattr(type(result), "__next__"):
        return [chunk async for chunk in result]
    if inspect.iscoroutinefunction(function) and hasattr(type(result), "__anext__"):
        return [chunk async for chunk in result]
    return list(result) if hasattr(type(result), "__next__") else [result]


def read(entry: Endpoint, events: Sequence[Any]) -> Generation:
    """What becomes of a stream of these events, content included."""
    with capture(capture_content="SPAN_ONLY") as captured:
        telemetry = active()
        assert telemetry is not None
        call = telemetry.start(Request("chat", "scripted", "test", stream=True))
        assert call is not None
        reader = entry.reader(call)
        for at, event in enumerate(events, call.started + 1):
            reader(at, at, event)
        call.end(COMPLETED)
    return only(captured)


def only(tokenstream: Capture) -> Generation:
    (generation,) = tokenstream.generations
    return generation


def pieces(generation: Generation) -> list[tuple[str, int]]:
    """(kind, characters) of every event with content."""
    kinds = [(event.attributes.get(signals.AT_KIND, "text"), event.attributes) for event in generation.tokens]
    return [(kind, attributes[signals.AT_CHARS]) for kind, attributes in kinds if kind != "empty"]


def passages(generation: Generation) -> list[tuple[str, int]]:
    """(kind, characters) of neighbours of one kind together: one read of bytes may bring several events."""
    joined: list[tuple[str, int]] = []
    for kind, chars in pieces(generation):
        before = joined.pop()[1] if joined and joined[-1][0] == kind else 0
        joined.append((kind, before + chars))
    return joined


def usage(generation: Generation) -> dict[str, Any]:
    names = {
        "input": signals.USAGE_INPUT_TOKENS,
        "output": signals.USAGE_OUTPUT_TOKENS,
        "cached": signals.USAGE_CACHE_READ,
        "reasoning": signals.USAGE_REASONING,
        "source": signals.USAGE_SOURCE,
    }
    found = {short: generation.attributes.get(name) for short, name in names.items()}
    return {short: value for short, value in found.items() if value is not None}


def attempts(generation: Generation) -> list[tuple[int, str, str | None]]:
    """(number, model, error) of each attempt."""
    events = [event.attributes for event in generation.events if event.name == signals.ATTEMPT_EVENT]
    return [(each[signals.AT_NUMBER], each[signals.AT_MODEL], each.get(signals.AT_ERROR_TYPE)) for each in events]
