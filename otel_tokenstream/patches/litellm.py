"""litellm: ``completion`` and ``acompletion``, streamed and not.

Since 1.104 the public functions are dispatchers that look their implementation up in
``litellm.chat_completions.dispatch`` at each call, so a patch there also reaches programs
that did ``from litellm import completion`` before. Before 1.104 the public function is a
decorator's wrapper; the function it closes over is replaced for those programs.
"""

from __future__ import annotations

import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core import streams
from otel_tokenstream.core.generation import COMPLETED, Generation, Request
from otel_tokenstream.core.guard import fault, guarded
from otel_tokenstream.core.ownership import Owning, owner
from otel_tokenstream.core.streams import outcome_of
from otel_tokenstream.core.timeline import AUDIO, EMPTY, REASONING, REFUSAL, TEXT, TOOL_CALL
from otel_tokenstream.fields.expected import expected_parser
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.telemetry import Telemetry

_DISPATCH = "litellm.chat_completions.dispatch"


def table(telemetry: Telemetry) -> PatchTable:
    def sync(original: Any) -> Any:
        return _completion(telemetry, original)

    def asynchronous(original: Any) -> Any:
        return _acompletion(telemetry, original)

    places = (
        Patch("litellm.main", "completion", sync),
        Patch("litellm.main", "acompletion", asynchronous),
        Patch(_DISPATCH, "_PYTHON_COMPLETION", sync, optional=True),
        Patch(_DISPATCH, "_PYTHON_ACOMPLETION", asynchronous, optional=True),
        Patch("litellm", "completion", _before_dispatch(sync)),
        Patch("litellm", "acompletion", _before_dispatch(asynchronous)),
    )
    return PatchTable([Patch(p.module, p.attribute, p.wrap, "litellm", p.optional) for p in places])


def _before_dispatch(wrap: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Leave a dispatcher alone: it looks up what is patched elsewhere."""
    return lambda original: original if original.__module__ == _DISPATCH else wrap(original)


def _completion(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def completion(*args: Any, **kwargs: Any) -> Any:
        call = None if owner() is not None else _start(telemetry, args, kwargs)
        if call is None:
            return original(*args, **kwargs)
        try:
            with Owning(call):
                result = original(*args, **kwargs)
        except BaseException as error:
            call.end(outcome_of(error), error)
            raise
        return _handed_over(call, result)

    return completion


def _acompletion(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def acompletion(*args: Any, **kwargs: Any) -> Any:
        call = None if owner() is not None else _start(telemetry, args, kwargs)
        if call is None:
            return await original(*args, **kwargs)
        try:
            with Owning(call):
                result = await original(*args, **kwargs)
        except BaseException as error:
            call.end(outcome_of(error), error)
            raise
        return _handed_over(call, result)

    return acompletion


@guarded
def _start(telemetry: Telemetry, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Generation | None:
    model = kwargs.get("model", args[0] if args else None)
    asked = str(model)
    provider, base = kwargs.get("custom_llm_provider") or "", kwargs.get("api_base") or kwargs.get("base_url")
    try:
        asked, provider, _, known_base = sys.modules["litellm"].get_llm_provider(
            asked, custom_llm_provider=provider or None, api_base=base
        )
        base = base or known_base
    except Exception:  # noqa: BLE001, S110  # an unknown model is litellm's to refuse, a moment later
        pass
    host, port = openai_shape.server(base or _configured_base(provider))
    request = Request(
        operation="chat",
        provider=openai_shape.provider_name(provider) or "_OTHER",
        model=asked,
        stream=kwargs.get("stream") is True,
        server_address=host,
        server_port=port,
        parameters=openai_shape.parameters(kwargs),
        messages=kwargs.get("messages", args[1] if len(args) > 1 else None),
    )
    call = telemetry.start(request)
    if call is not None and telemetry.settings.fields and request.stream:
        call.parser = expected_parser()
    return call


def _configured_base(provider: str) -> object:
    base = getattr(sys.modules["litellm"], "api_base", None)
    if base is None and provider == "openai":
        base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or "https://api.openai.com/v1"
    return base


def _handed_over(call: Generation, result: Any) -> Any:
    """Give the caller its result: a stream inside a proxy, anything else as it is."""
    call.asked = 0
    try:
        if hasattr(type(result), "__anext__") or hasattr(type(result), "__next__"):
            if not call.observed:
                return streams.proxy(result, call, None)
            return streams.proxy(result, call, _reader(call), _closer(call))
        _read_response(call, result)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("litellm's result", problem)
    call.end(COMPLETED)
    return result


def _read_response(call: Generation, response: Any) -> None:
    if not call.observed:
        return
    call.response_id = getattr(response, "id", None)
    call.response_model = getattr(response, "model", None)
    for choice in getattr(response, "choices", None) or ():
        reason = getattr(choice, "finish_reason", None)
        if reason is not None:
            call.finish_reasons[getattr(choice, "index", 0) or 0] = str(reason)
    call.usage = openai_shape.usage(getattr(response, "usage", None))
    hidden = getattr(response, "_hidden_params", None) or {}
    call.cache_hit = hidden.get("cache_hit") is True
    cost = hidden.get("response_cost")
    if isinstance(cost, float) and cost > 0 and not call.cache_hit:
        call.cost_usd = cost


def _reader(call: Generation) -> Callable[[int, int, Any], None]:
    """Return what reads litellm's chunks.

    Attribute access on pydantic models costs more than all the rest of a read, so the usual
    chunk, one choice with text, is read from the models' own dictionaries. Where a version
    keeps its values elsewhere, and for every other chunk, plain attribute access does.
    """
    take_text = call.text
    started = False

    def read(asked: int, arrived: int, chunk: Any) -> None:
        nonlocal started
        if started:
            try:
                (model,) = chunk.__dict__["choices"]
                choice = model.__pydantic_extra__
                text = choice["delta"].__pydantic_extra__["content"]
                if text and choice["finish_reason"] is None:
                    take_text(asked, arrived, text)
                    return
            except (AttributeError, KeyError, TypeError, ValueError):
                pass
        else:
            started = True
            _read_first(call, chunk)
        _read_any(call, asked, arrived, chunk)

    return read


def _read_first(call: Generation, chunk: Any) -> None:
    call.response_id = getattr(chunk, "id", None)
    hidden = getattr(chunk, "_hidden_params", None) or {}
    model = hidden.get("provider_response_model")
    if model is None and getattr(chunk, "model", None) != call.request.model:
        model = chunk.model  # litellm puts the requested model there where the provider named none
    call.response_model = model


def _read_any(call: Generation, asked: int, arrived: int, chunk: Any) -> None:
    if call.usage is None:
        call.usage = openai_shape.usage(getattr(chunk, "usage", None))
    choices = getattr(chunk, "choices", None)
    if not choices:
        call.chunk(asked, arrived, EMPTY, 0, None, None)
    for choice in choices or ():
        delta, index = choice.delta, choice.index or 0
        text = getattr(delta, "content", None)
        if not text:
            kind, chars = _kind(delta)
            call.chunk(asked, arrived, kind, chars, None, None)
        elif index == 0:
            call.text(asked, arrived, text)
        else:
            call.chunk(asked, arrived, TEXT, len(text), None, text)
        if choice.finish_reason is not None:
            call.finish_reasons[index] = str(choice.finish_reason)
        asked = 0


def _closer(call: Generation) -> Callable[[Any], None]:
    """Return what reads from an ended stream what litellm knows only then."""

    def close(stream: Any) -> None:
        seen = getattr(stream, "received_finish_reason", None) or getattr(stream, "intermittent_finish_reason", None)
        if call.finish_reasons and seen is None and hasattr(stream, "received_finish_reason"):
            call.finish_reason_synthetic = True
        if call.usage is None:
            # Usage the caller did not ask to be shown stays in the stream's own copy of its chunks.
            for chunk in reversed(getattr(stream, "chunks", None) or ()):
                call.usage = openai_shape.usage(getattr(chunk, "usage", None))
                if call.usage is not None:
                    break

    return close


def _kind(delta: Any) -> tuple[str, int]:
    """Kind and characters of a delta without visible text."""
    reasoning = getattr(delta, "reasoning_content", None)
    if reasoning:
        return REASONING, len(reasoning)
    calls = getattr(delta, "tool_calls", None)
    if calls:
        functions = [getattr(each, "function", None) for each in calls]
        return TOOL_CALL, sum(len(getattr(function, "arguments", None) or "") for function in functions)
    refusal = getattr(delta, "refusal", None)
    if refusal:
        return REFUSAL, len(refusal)
    if getattr(delta, "audio", None):
        return AUDIO, 0
    return EMPTY, 0
