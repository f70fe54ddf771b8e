from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach, set_value

from otel_tokenstream import signals
from otel_tokenstream.core.call import nesting
from otel_tokenstream.core.call.model_call import COMPLETED
from otel_tokenstream.core.call.nesting import CallScope, current_call, no_current_call
from otel_tokenstream.core.call.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.core.calls import Ends

REQUEST = Request("chat", "scripted", "test", stream=False)
GENAI_KEY = "opentelemetry.genai.client.inference.context"


def test_calls_inside_the_creating_call_have_an_owner(ends: Ends) -> None:
    """The owner is known inside, in threads that copied the context too, and gone afterwards."""
    call = ends.call()

    with CallScope(call), ThreadPoolExecutor(1) as pool:
        assert current_call() is call
        assert pool.submit(copy_context().run, current_call).result() is call
    assert current_call() is None
    call.end(COMPLETED)


def test_an_owner_is_one_again_after_those_inside(ends: Ends) -> None:
    """A creating call within a creating call, and code of the program's that the library runs in it."""
    outer, inner = ends.call(), ends.call()

    with CallScope(outer):
        with CallScope(inner):
            assert current_call() is inner
        assert current_call() is outer
        with no_current_call():
            assert current_call() is None
        assert current_call() is outer
    outer.end(COMPLETED)
    inner.end(COMPLETED)


async def test_tasks_left_behind_by_a_creating_call_own_their_calls(ends: Ends) -> None:
    """A task that outlives the creating call, as a callback may, is no part of it any more."""
    call, returned = ends.call(), asyncio.Event()

    async def callback() -> Any:
        await returned.wait()
        return current_call()

    with CallScope(call):
        task = asyncio.create_task(callback())
    returned.set()

    assert await task is None
    call.end(COMPLETED)


async def test_concurrent_calls_have_owners_of_their_own(ends: Ends) -> None:
    """Tasks side by side see their own call only."""

    async def one() -> bool:
        call = ends.call()
        with CallScope(call):
            await asyncio.sleep(0)
            mine = current_call() is call
        call.end(COMPLETED)
        return mine

    assert all(await asyncio.gather(*(one() for _ in range(20))))


def test_a_creating_call_that_ends_in_another_context_raises_nothing(ends: Ends) -> None:
    """A coroutine may be driven from one context and then from another; its caller gets its result."""
    call = ends.call()

    async def create() -> str:
        with CallScope(call):
            await asyncio.sleep(0)
            return "created"

    coroutine = create()
    copy_context().run(coroutine.send, None)
    with pytest.raises(StopIteration) as end:
        copy_context().run(coroutine.send, None)

    assert end.value.value == "created"
    call.end(COMPLETED)


def test_a_step_that_a_generator_leaves_open_is_not_current_in_its_reader(record: Callable[..., Any]) -> None:
    """The reader breaks off: what was current before the generator is so again."""
    telemetry, captured = record()

    def generate() -> Iterator[int]:
        with telemetry.step("retrieval"):
            yield from range(3)

    for _ in generate():
        break

    assert trace.get_current_span() is trace.INVALID_SPAN
    assert [span.name for span in captured.spans] == ["retrieval"]


def test_the_span_is_current_during_the_creating_call_only(record: Callable[..., Any]) -> None:
    """Requests made inside are the span's children, later ones are not."""
    telemetry, captured = record()
    call = telemetry.start(REQUEST)

    with CallScope(call):
        inside = trace.get_current_span()
    call.end(COMPLETED)

    assert trace.get_current_span() is trace.INVALID_SPAN
    assert inside.get_span_context().span_id == captured.spans[0].context.span_id


def test_a_call_that_has_a_span_already_is_enriched(record: Callable[..., Any]) -> None:
    """Another instrumentation's span takes our attributes, stays open and is not doubled."""
    telemetry, captured = record()
    tracer = captured.tracer_provider.get_tracer("theirs")

    with tracer.start_as_current_span("chat by them") as span:
        token = attach(set_value(GENAI_KEY, object()))
        telemetry.start(REQUEST).end(COMPLETED)
        detach(token)
        assert span.is_recording()

    (generation,) = captured.spans
    assert generation.name == "chat by them"
    assert generation.attributes[signals.OUTCOME] == "completed"


def test_our_own_mark_is_not_taken_for_anothers(record: Callable[..., Any], monkeypatch: Any) -> None:
    """A call made while a stream of ours is read has a span of its own, whatever other packages are loaded."""

    @dataclass
    class InferenceData:
        marked: bool = True

    module = ModuleType("opentelemetry.util.genai.invocation")
    module.InferenceData = InferenceData  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    telemetry, captured = record()
    outer = telemetry.start(REQUEST)
    token = attach(outer.context)
    assert not nesting.owned_elsewhere()
    telemetry.start(REQUEST).end(COMPLETED)
    detach(token)
    outer.end(COMPLETED)

    inner_span, outer_span = captured.generations
    assert inner_span.parent is outer_span.span
