"""What is known of an answer only at its end: usage, cost, and which facts litellm made up."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.generation import Usage
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.price import price_of
from otel_tokenstream.patches.litellm.source import chat_stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.core.generation import Generation

_MISSING = object()
_BROKEN_OFF = "incomplete"


def settle(call: Generation, answer: Any, source: Any = None) -> None:
    """Complete a call from its ended stream or plain answer; ``source`` leads to litellm's own stream."""
    stream = chat_stream(source) or answer
    if call.cache_hit or _is_cached(answer):
        # The provider was not asked: what the answer says of usage was another call's.
        call.cache_hit, call.usage, call.cost_usd = True, None, None
        return
    _settle_stream(call, stream)
    if _kept_its_error(call, answer, stream):
        call.error_type = _BROKEN_OFF
    if call.attempts and call.attempts[-1].invented:
        call.finish_reason_synthetic = bool(call.finish_reasons)
        call.response_model = None
        call.usage = call.usage and replace(call.usage, estimated=True)
    if hasattr(answer, "choices") or hasattr(stream, "received_finish_reason"):
        _drop_guess(call)
    usage = call.usage
    if usage is not None and usage.output is not None and not usage.estimated and call.attempts:
        call.price = price_of(stream)


def _is_cached(answer: Any) -> bool:
    named = getattr(answer, "custom_llm_provider", None) == "cached_response"
    return named or type(answer).__name__.startswith("Cached")


def _settle_stream(call: Generation, stream: Any) -> None:
    received = getattr(stream, "received_finish_reason", _MISSING)
    if received is _MISSING:  # none of litellm's own chat streams
        return
    if call.finish_reasons and not (received or getattr(stream, "intermittent_finish_reason", None)):
        call.finish_reason_synthetic = True
    # The stream keeps its own copy of the chunks, usage included that the caller is not shown.
    chunks = getattr(stream, "chunks", None) or ()
    reported = [usage for chunk in chunks if (usage := openai_shape.usage(getattr(chunk, "usage", None))) is not None]
    if reported:
        call.usage = _together(reported)
        broke_off = not call.finish_reasons or (call.finish_reason_synthetic and _opened_with_usage(chunks))
        if broke_off and len({usage.output for usage in reported}) == 1:
            # Not counted along: what stands there of an answer that broke off is where a count begins.
            call.usage = replace(call.usage, output=None, reasoning=None, audio_output=None)
    elif call.usage is not None:  # counted by litellm from the text
        call.usage = replace(call.usage, estimated=True)


def _opened_with_usage(chunks: Sequence[Any]) -> bool:
    """Whether all that was said of usage came before the last content."""
    last = next((chunk for chunk in reversed(chunks) if _has_content(chunk) or openai_shape.get(chunk, "usage")), None)
    return last is not None and openai_shape.get(last, "usage") is None


def _has_content(chunk: Any) -> bool:
    return any(choice.delta.content or choice.delta.tool_calls for choice in getattr(chunk, "choices", None) or ())


def _kept_its_error(call: Generation, answer: Any, stream: Any) -> bool:
    """Whether a stream that litellm made from a chat stream ended as if all were well, after that one had failed.

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


def _drop_guess(call: Generation) -> None:
    """Anthropic's API seldom reports reasoning tokens, and litellm then counts them from the text, unmarked."""
    provider = call.attempts[-1].provider if call.attempts else ""
    if call.usage is not None and ("claude" in call.request.model or provider == "anthropic"):
        call.usage = replace(call.usage, reasoning=None)
