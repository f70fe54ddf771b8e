"""The one wrapper around every endpoint of litellm, in its sync and its async form."""

from __future__ import annotations

from functools import partial, wraps
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.nesting import CallScope
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.call.stream_proxy import is_mock
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.lifecycle import begin, hand_over, is_iterator
from otel_tokenstream.patches.litellm.hooks import stream_usage
from otel_tokenstream.patches.litellm.outcome.finalize import finalize, finalizing_collected
from otel_tokenstream.patches.litellm.proxy_identity import caller
from otel_tokenstream.patches.litellm.transport.inner_stream import InnerStreamRef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
    from otel_tokenstream.patches.litellm.hooks.stream_usage import Added
    from otel_tokenstream.settings import Settings


def calling(telemetry: Telemetry, endpoint: Endpoint, original: Callable[..., Any]) -> Callable[..., Any]:
    """Record a function's calls, except those that litellm makes in order to answer another one."""

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _begin(telemetry, endpoint, args, kwargs) as made:
            if made is None:
                return original(*args, **kwargs)
            inner, added = InnerStreamRef(made), stream_usage.add(telemetry.settings, endpoint, made, args, kwargs)
            with CallScope(made):
                result = original(*args, **kwargs)
            return _handed_over(endpoint, made, result, inner, added)

    return call


def acalling(telemetry: Telemetry, endpoint: Endpoint, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same around a coroutine function."""

    @wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with _begin(telemetry, endpoint, args, kwargs) as made:
            if made is None:
                return await original(*args, **kwargs)
            inner, added = InnerStreamRef(made), stream_usage.add(telemetry.settings, endpoint, made, args, kwargs)
            with CallScope(made):
                result = await original(*args, **kwargs)
            return _handed_over(endpoint, made, result, inner, added)

    return call


def _begin(telemetry: Telemetry, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> begin:
    return begin(telemetry, partial(_request, telemetry.settings, endpoint, args, kwargs), fields=endpoint.fields)


def _request(settings: Settings, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Request:
    arguments = endpoint.bind(args, kwargs)
    target = endpoint.target(arguments)
    return Request(
        operation=endpoint.operation,
        provider=target.convention,
        model=target.model,
        stream=endpoint.streamed(arguments),
        server_address=target.address,
        server_port=target.port,
        parameters={**(endpoint.parameters(arguments) or {}), **(guarded(caller)(settings, arguments) or {})},
        messages=arguments.get(endpoint.prompt),
        system=arguments.get("system") or arguments.get("instructions") or arguments.get("systemInstruction"),
        tools=arguments.get("tools"),
    )


def _is_stream(call: ModelCall, result: Any) -> bool:
    """Return whether a result is a stream to be read, and not the answer itself that can be iterated, as mocks can.

    A router's deployment may have it streamed where the call itself did not ask for that.
    """
    kind = type(result)
    if not is_iterator(result):
        return False
    frame = getattr(result, "gi_frame", None) or getattr(result, "ag_frame", None)
    made_in = [each.__module__ for each in kind.__mro__]
    if issubclass(kind, (GeneratorType, AsyncGeneratorType)) and frame is not None:
        made_in.append(frame.f_globals.get("__name__", ""))
    return call.request.stream or any(str(module).partition(".")[0] == "litellm" for module in made_in)


def _handed_over(endpoint: Endpoint, call: ModelCall, result: Any, inner: InnerStreamRef, added: Added | None) -> Any:
    def complete(call: ModelCall, answer: Any) -> None:
        if not mocked:
            finalize(call, answer, inner.stream)

    streamed, mocked = guarded(_is_stream)(call, result) is True, is_mock(result)
    known_later = streamed and call.observed and not mocked
    collected = guarded(finalizing_collected)(call, result, inner.stream) if known_later else None
    handed = hand_over(
        call, result, endpoint.reader, endpoint.read_answer, complete, finalize_collected=collected, streamed=streamed
    )
    if handed is not result and call.observed:
        stream_usage.hide(added, handed, (result, inner.stream), call)
    return handed
