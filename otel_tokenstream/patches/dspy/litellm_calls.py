"""DSPy's plain calls of litellm, made as streams where ``stream_fields`` wants it.

Below DSPy's cache and retries: the answer is put together from the chunks, and everything above
sees it as if it had come in one piece. What a stream cannot give, or litellm cannot put
together again, is asked for plainly.
"""

from __future__ import annotations

import sys
from functools import partial, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.stream_proxy import is_mock, original_of
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.fields.expected import telling_only
from otel_tokenstream.patches.dspy.optimizers import fields_to_stream
from otel_tokenstream.patches.litellm.apis import chat
from otel_tokenstream.patches.litellm.hooks.calls import acalling, calling
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_tokenstream.core.emit.telemetry import Telemetry

_MODULE = "dspy.clients.lm"
_ONLY_WHOLE = ("logprobs", "top_logprobs", "modalities", "audio", "stream", "mock_response")


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for name, wrap in (("litellm_completion", _completion), ("alitellm_completion", _acompletion)):
        entry = PublicEntry(f"stream_fields with {name}")
        yield Patch(_MODULE, name, partial(wrap, telemetry), optional=True, entries=(entry,))


def _completion(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)  # DSPy's cache keys have the function's module and name
    def litellm_completion(*args: Any, **kwargs: Any) -> Any:
        told = _told(telemetry, args, kwargs)
        if told is None:
            return original(*args, **kwargs)
        request, retries = kwargs["request"], kwargs.get("num_retries") or 0

        def opened(retries: int) -> Any:
            def ask(**request: Any) -> Any:
                return original(**{**kwargs, "request": request, "num_retries": retries})

            # Where litellm is instrumented too, its own patch finds that this call is one already.
            with telling_only(told):
                return calling(telemetry, chat.ENDPOINT, ask)(**_as_stream(request))

        def once(stream: Any) -> Any:
            return stream if _is_whole(stream) else _answer(list(stream), stream, request)

        stream = opened(retries)
        try:
            return once(stream)
        except sys.modules["openai"].APIError:
            if not retries:  # since 3.4 DSPy retries itself
                raise
        return _litellm().completion_with_retries(original_function=lambda **_: once(opened(0)), **_retrying(retries))

    return litellm_completion


def _acompletion(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def alitellm_completion(*args: Any, **kwargs: Any) -> Any:
        told = _told(telemetry, args, kwargs)
        if told is None:
            return await original(*args, **kwargs)
        request, retries = kwargs["request"], kwargs.get("num_retries") or 0

        async def opened(retries: int) -> Any:
            async def ask(**request: Any) -> Any:
                return await original(**{**kwargs, "request": request, "num_retries": retries})

            with telling_only(told):
                return await acalling(telemetry, chat.ENDPOINT, ask)(**_as_stream(request))

        async def once(stream: Any) -> Any:
            if _is_whole(stream):
                return stream
            return _answer([chunk async for chunk in stream], stream, request)

        async def again(**_: Any) -> Any:
            return await once(await opened(0))

        stream = await opened(retries)
        try:
            return await once(stream)
        except sys.modules["openai"].APIError:
            if not retries:
                raise
        return await _litellm().acompletion_with_retries(original_function=again, **_retrying(retries))

    return alitellm_completion


def _told(telemetry: Telemetry, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> frozenset[str] | None:
    return fields_to_stream(telemetry) if not args and _can_stream(kwargs.get("request")) else None


@guarded
def _can_stream(request: Any) -> bool:
    if not isinstance(request, dict) or request.get("n", 1) not in (None, 1):
        return False
    if sys.modules["dspy"].settings.send_stream is not None:  # streamify has it streamed already
        return False
    import_module("litellm")  # as the call does a moment later: DSPy 3.3 puts it off until then
    return not any(request.get(option) for option in _ONLY_WHOLE)


def _as_stream(request: Mapping[str, Any]) -> dict[str, Any]:
    options = {**(request.get("stream_options") or {}), "include_usage": True}
    return {**request, "stream": True, "stream_options": options}


def _retrying(retries: int) -> dict[str, Any]:
    """Fail as a plain call of litellm does: the stream broke off after it had begun."""
    return {"num_retries": retries, "retry_strategy": "exponential_backoff_retry"}


def _is_whole(stream: Any) -> bool:
    """Return whether a test put the plain answer there, which is no stream."""
    return is_mock(stream) and original_of(stream) is stream


def _answer(chunks: list[Any], stream: Any, request: Mapping[str, Any]) -> Any:
    """Put the plain answer together; one that a test put there is the answer.

    Raises:
        APIConnectionError: the stream broke off. Some versions of litellm end a stream as if it were
            complete when its connection is lost, and invent the finish reason.

    """
    if is_mock(stream):
        return original_of(stream)
    litellm = _litellm()
    answer = litellm.stream_chunk_builder(chunks, messages=request.get("messages"))
    if answer is None or getattr(stream, "received_finish_reason", "") is None:
        raise litellm.APIConnectionError(
            message="the stream ended without a finish reason", llm_provider="", model=str(request.get("model"))
        )
    _as_plain(answer, str(request.get("model")))
    return answer


@guarded
def _as_plain(answer: Any, model: str) -> None:
    """Undo what litellm does to the answers of streams only: its own estimate of the cost stands beside the usage."""
    usage: Any = getattr(answer, "usage", None)
    hidden = answer._hidden_params  # noqa: SLF001  # the only place litellm has for it
    stamped = getattr(usage, "cost", None)
    if stamped is not None:
        del usage.cost
    estimate = _cost(answer, model) if stamped is not None or hidden.get("response_cost") is None else None
    if stamped is not None and stamped != estimate:
        usage.cost = stamped  # the provider's own
    if hidden.get("response_cost") is None:
        hidden["response_cost"] = estimate


def _cost(answer: Any, model: str) -> float | None:
    try:
        cost: float = _litellm().completion_cost(completion_response=answer, model=model)
    except Exception:  # noqa: BLE001  # a model without a price
        return None
    return cost


def _litellm() -> Any:
    return sys.modules["litellm"]
