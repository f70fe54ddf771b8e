"""Facts about an answer that are known only at its end: usage, cost, and values that litellm made up."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.apis import chat
from otel_tokenstream.patches.litellm.outcome.cost import price_of
from otel_tokenstream.patches.litellm.transport.inner_stream import chat_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.patches.litellm.outcome.cost import Price

_MISSING = object()
_BROKEN_OFF = "incomplete"


def finalize(call: ModelCall, answer: Any, inner: Any = None) -> None:
    """Complete a call from its ended stream or plain answer; ``inner`` is litellm's own stream, or holds it."""
    stream = chat_stream(inner) or answer
    if call.cache_hit or _is_cached(answer):
        # No request was made: the usage in the answer is another call's.
        call.cache_hit, call.usage, call.cost_usd = True, None, None
        return
    _finalize_stream(call, answer, stream)
    if _kept_its_error(call, answer, stream):
        call.error_type = _BROKEN_OFF
    if call.attempts and call.attempts[-1].invented:
        _note_invented_reason(call, invented=bool(call.finish_reasons))
        call.response_model = None
        call.usage = call.usage and replace(call.usage, estimated=True)
    if call.usage is not None and _went_on_after_content(call):
        # litellm adds what it counts itself of the broken answer.
        call.usage = replace(call.usage, estimated=True)
    if hasattr(answer, "choices") or hasattr(stream, "received_finish_reason"):
        _drop_guess(call)
    usage = call.usage
    if usage is not None and usage.output is not None and not usage.estimated and call.attempts:
        call.at_end = partial(_set_cost, price_of(stream))


def finalizing_collected(call: ModelCall, answer: Any, inner: Any) -> Callable[[], None]:
    """Return what completes a call whose stream the collector has found; it holds the stream's chunks, not the stream.

    Which facts litellm made up, and what the call cost by its own account, is not known then.
    """
    stream = chat_stream(inner) or answer
    cached, chunks = _is_cached(answer), getattr(stream, "chunks", None)

    def finalize_collected() -> None:
        if call.cache_hit or cached:
            call.cache_hit, call.usage, call.cost_usd = True, None, None
            return
        if isinstance(chunks, list):
            _finalize_usage(call, chunks)
            _drop_guess(call)
        usage = call.usage
        if usage is not None and usage.output is not None and not usage.estimated and call.attempts:
            call.at_end = partial(_set_cost, price_of(None))

    del stream, answer, inner  # a closure's variables live as long as it
    return finalize_collected


def _set_cost(price: Price, call: ModelCall) -> None:
    if call.cost_usd is None:
        call.cost_usd = price(call)


def _note_invented_reason(call: ModelCall, *, invented: bool) -> None:
    """Note whether litellm made up the finish reason, which no provider gave."""
    if invented:
        call.attributes[signals.FINISH_REASON_SYNTHETIC] = True
    else:
        call.attributes.pop(signals.FINISH_REASON_SYNTHETIC, None)


def _went_on_after_content(call: ModelCall) -> bool:
    """Return whether the program had content of an attempt that failed, and got the rest from another one."""
    first = call.first_token
    return first is not None and any(each.error_type and each.ended > first[0] for each in call.attempts[:-1])


def _is_cached(answer: Any) -> bool:
    named = getattr(answer, "custom_llm_provider", None) == "cached_response"
    return named or type(answer).__name__.startswith("Cached")


def _finalize_stream(call: ModelCall, answer: Any, stream: Any) -> None:
    received = getattr(stream, "received_finish_reason", _MISSING)
    if received is _MISSING:  # none of litellm's own chat streams
        return
    given = received or getattr(stream, "intermittent_finish_reason", None)
    if call.finish_reasons and (not given or _took_the_end_for_a_reason(stream)):
        _note_invented_reason(call, invented=True)
    chunks = getattr(stream, "chunks", None) or ()
    if chunks and call.response_id is None and hasattr(answer, "received_finish_reason"):
        chat.read_first(call, chunks[-1])  # of an answer that went on with another stream
    _finalize_usage(call, chunks)


def _took_the_end_for_a_reason(stream: Any) -> bool:
    """Return whether litellm's reader of streams like OpenAI's had no finish reason but the mark of their end."""
    if stream.custom_llm_provider == "ollama":  # its last chunk has another shape than those before it
        return False
    return bool(getattr(stream, "uses_openai_chat_stream", False)) and not getattr(
        stream, "received_any_finish_reason", True
    )


def _finalize_usage(call: ModelCall, chunks: Sequence[Any]) -> None:
    """Take the usage from the stream's own copy of its chunks, which has what the caller is not shown."""
    reported = [usage for chunk in chunks if (usage := openai_shape.usage(getattr(chunk, "usage", None))) is not None]
    if reported:
        call.usage = _together(reported)
        invented = signals.FINISH_REASON_SYNTHETIC in call.attributes
        broke_off = not call.finish_reasons or (invented and _opened_with_usage(chunks))
        if broke_off and len({usage.output for usage in reported}) == 1:
            # Not counted along: what stands there of an answer that broke off is where a count begins.
            call.usage = replace(call.usage, output=None, reasoning=None, output_by=None)
    elif call.usage is not None:  # counted by litellm from the text
        call.usage = replace(call.usage, estimated=True)


def _opened_with_usage(chunks: Sequence[Any]) -> bool:
    """Return whether all that was said of usage came before the last content."""
    last = next((chunk for chunk in reversed(chunks) if _has_content(chunk) or openai_shape.get(chunk, "usage")), None)
    return last is not None and openai_shape.get(last, "usage") is None


def _has_content(chunk: Any) -> bool:
    return any(choice.delta.content or choice.delta.tool_calls for choice in getattr(chunk, "choices", None) or ())


def _kept_its_error(call: ModelCall, answer: Any, stream: Any) -> bool:
    """Return whether a stream that litellm made from a chat stream ended well although that one had failed.

    A chat stream that ends well gives a finish reason, invented if need be.
    """
    bridged = stream is not answer and hasattr(stream, "received_finish_reason")
    exhausted = isinstance(sys.exc_info()[1], (StopIteration, StopAsyncIteration))
    return bridged and exhausted and not call.finish_reasons and call.error_type is None


def _together(reported: list[Usage]) -> Usage:
    """The last word on each count: some providers tell the prompt's at the start and the answer's at the end."""
    counts: dict[str, Any] = {}
    for usage in reported:
        counts.update({name: count for name, count in vars(usage).items() if count or name not in counts})
    return Usage(**counts)


def _drop_guess(call: ModelCall) -> None:
    """Anthropic's API seldom reports reasoning tokens, and litellm then counts them from the text, unmarked."""
    provider = call.attempts[-1].provider if call.attempts else ""
    if call.usage is not None and ("claude" in call.request.model or provider == "anthropic"):
        call.usage = replace(call.usage, reasoning=None)
