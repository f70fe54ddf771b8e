"""The one wrapper around every entry of litellm, in its sync and its async form."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core import streams
from otel_tokenstream.core.generation import COMPLETED, FAILED, Generation, Request
from otel_tokenstream.core.guard import fault, guarded
from otel_tokenstream.core.ownership import Owning, owner, read_now
from otel_tokenstream.core.streams import outcome_of
from otel_tokenstream.fields.expected import expected_parser
from otel_tokenstream.patches.litellm import requested_usage
from otel_tokenstream.patches.litellm.attempts import handled_error
from otel_tokenstream.patches.litellm.ending import settle
from otel_tokenstream.patches.litellm.proxy_caller import caller
from otel_tokenstream.patches.litellm.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.entry import Entry
    from otel_tokenstream.patches.litellm.requested_usage import Added

_parser = guarded(expected_parser)  # the call goes on, and is recorded, without its fields


def calling(telemetry: Telemetry, entry: Entry, original: Callable[..., Any]) -> Callable[..., Any]:
    """Put the entry's generation around a function; a call that litellm itself makes is left alone."""

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        generation = _start(telemetry, entry, args, kwargs)
        if generation is None:
            return original(*args, **kwargs)
        added, source = requested_usage.add(telemetry.settings, entry, generation, args, kwargs), Source(generation)
        try:
            with Owning(generation):
                result = original(*args, **kwargs)
        except BaseException as error:
            generation.end(outcome_of(error), error)
            raise
        return _handed_over(entry, generation, result, source, added)

    return call


def acalling(telemetry: Telemetry, entry: Entry, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same around a coroutine function."""

    @wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        generation = _start(telemetry, entry, args, kwargs)
        if generation is None:
            return await original(*args, **kwargs)
        added, source = requested_usage.add(telemetry.settings, entry, generation, args, kwargs), Source(generation)
        try:
            with Owning(generation):
                result = await original(*args, **kwargs)
        except BaseException as error:
            generation.end(outcome_of(error), error)
            raise
        return _handed_over(entry, generation, result, source, added)

    return call


@guarded
def _start(telemetry: Telemetry, entry: Entry, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Generation | None:
    if owner() is not None:
        return None
    asked = entry.asked(args, kwargs)
    target = entry.target(asked)
    request = Request(
        operation=entry.operation,
        provider=target.convention,
        model=target.model,
        stream=entry.streamed(asked),
        server_address=target.address,
        server_port=target.port,
        parameters={**(entry.parameters(asked) or {}), **(guarded(caller)(telemetry.settings, asked) or {})},
        messages=asked.get(entry.prompt),
        system=asked.get("system") or asked.get("instructions") or asked.get("systemInstruction"),
        tools=asked.get("tools"),
    )
    generation = telemetry.start(request, continues=guarded(_broken_off)())
    if generation is not None and entry.fields and telemetry.settings.fields and request.stream:
        generation.parser = _parser()
    return generation


def _broken_off() -> Generation | None:
    """End the generation that broke off in mid-stream and is continued by the call that starts now, and return it.

    What the caller's stream brings from now on belongs to the new one.
    """
    before = read_now()
    error = None if before is None else handled_error()
    if before is None or error is None:
        return None
    before.end(FAILED, error)
    return before


def _handed_over(entry: Entry, generation: Generation, result: Any, source: Source, added: Added | None) -> Any:
    """Give the caller its result: a stream inside a proxy, anything else as it is."""
    generation.asked = 0
    try:
        if hasattr(type(result), "__anext__") or hasattr(type(result), "__next__"):
            if not generation.observed:
                return streams.proxy(result, generation, None)
            proxy = streams.proxy(
                result, generation, entry.reader(generation), lambda stream: settle(generation, stream, source.stream)
            )
            requested_usage.hide(added, proxy, (result, source.stream), generation)
            return proxy
        if generation.observed:
            entry.read_answer(generation, result)
            settle(generation, result, source.stream)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("litellm's result", problem)
    generation.end(COMPLETED)
    return result
