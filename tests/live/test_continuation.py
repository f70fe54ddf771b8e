from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import TokenCollector, correlate, step
from tests.live.live_calls import arguments, program, streamed

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture


def interrupted(provider: ScriptedProvider) -> Any:
    """Return an event of a stream that was left after its first tokens."""
    import litellm

    with TokenCollector() as collected:
        stream = iter(litellm.completion(**arguments(provider)))
        next(stream), next(stream)
        del stream
        gc.collect()  # the client's part of it is a cycle
    return collected.events[-1]


def links(span: Any) -> list[int]:
    return [link.context.span_id for link in span.links]


def test_continuation_is_linked_to_the_interrupted_span(tokenstream: Capture, provider: ScriptedProvider) -> None:
    """The span of the call inside leads to the one before, in its trace; calls outside lead nowhere."""
    event = interrupted(provider)
    with correlate(continues=event.span_context):
        streamed(provider)
    streamed(provider)
    before, continuation, later = (generation.span for generation in tokenstream.generations)
    assert links(continuation) == [before.context.span_id]
    assert continuation.links[0].context.trace_id == before.context.trace_id
    assert (links(before), links(later)) == ([], [])


def test_model_calls_of_a_program_are_linked_and_steps_are_not(
    tokenstream: Capture, provider: ScriptedProvider
) -> None:
    """What goes on with an answer is a model's call, however deep in a program it is made."""
    event = interrupted(provider)

    @correlate(continues=event.span_context, request_id="r-2")
    def go_on() -> None:
        with step("again"):
            list(program(provider)(question="Why?"))

    go_on()
    linked = [span.name for span in tokenstream.spans if span.links]
    assert linked == ["chat program"]


def test_continuation_takes_span_contexts_only() -> None:
    """An event itself, or an id, is refused with what is wanted instead."""
    wrong: Any = "0af7651916cd43dd8448eb211c80319c"
    with pytest.raises(TypeError, match="span_context of a live event"):
        correlate(continues=wrong)
