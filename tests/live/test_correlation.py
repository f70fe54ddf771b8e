from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import dspy
import litellm
import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach, get_current
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from otel_tokenstream import TokenCollector, correlate, step
from otel_tokenstream.core.content.correlation import LONGEST_VALUE, correlation
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.live.live_calls import LETTERS, QUESTION, arguments, astreamed, program, streamed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping

    from otel_tokenstream.demo.provider import ScriptedProvider

GIVEN = {"conversation_id": "c-17", "user_id": "u-4", "request_id": "r-9"}
ATTRIBUTES = {"gen_ai.conversation.id": "c-17", "user.id": "u-4", "tokenstream.request_id": "r-9"}


def of_whom(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What attributes say of who a call is for."""
    names = {*ATTRIBUTES, "tokenstream.operation"}
    return {name: value for name, value in attributes.items() if name in names}


# --- Where it stands -----------------------------------------------------------------------------


def test_it_stands_on_everything_of_its_call_tree_and_on_no_metric(provider: ScriptedProvider) -> None:
    """Module spans, steps, generations, log records and live events, and nothing of a neighbour's."""
    with capture(events="both") as captured, TokenCollector() as collected:
        with correlate(**GIVEN), step("retrieval"):
            pass
        with correlate(**GIVEN):
            [*_, _prediction] = program(provider)(question=QUESTION)
        streamed(provider)

    *mine, neighbour = captured.spans
    assert {span.name for span in mine} == {"retrieval", "Predict", "ChainOfThought", "chat program"}
    assert all(of_whom(span.attributes) == ATTRIBUTES for span in mine)
    assert of_whom(neighbour.attributes) == {}
    by_whom = {(log.attributes["gen_ai.request.model"], str(of_whom(log.attributes))) for log in captured.logs}
    assert by_whom == {("program", str(ATTRIBUTES)), ("test", "{}")}
    assert {(event.model, str(event.correlation)) for event in collected.events} == {
        ("", str(GIVEN)),
        ("program", str(GIVEN)),
        ("test", "{}"),
    }
    points = [point for of_metric in captured.metrics.values() for point in of_metric]
    assert points
    assert not [point for point in points if of_whom(point.attributes)]
    assert not set(GIVEN.values()) & {value for point in points for value in point.attributes.values()}


def test_an_operation_stands_on_spans_as_it_is(provider: ScriptedProvider) -> None:
    """The program's own name is an attribute of its own; the convention's operation stays."""
    with capture() as captured, correlate(operation="summary"):
        streamed(provider)

    (generation,) = captured.generations
    assert generation.attributes["tokenstream.operation"] == "summary"
    assert generation.attributes["gen_ai.operation.name"] == "chat"
    assert generation.name == "chat test"


def test_inner_values_win() -> None:
    """What the inner one does not name stays the outer one's; afterwards all is as before."""
    with correlate(conversation_id="outer", user_id="u"):
        with correlate(conversation_id="inner", request_id="r"):
            assert correlation() == {"conversation_id": "inner", "user_id": "u", "request_id": "r"}
        assert correlation() == {"conversation_id": "outer", "user_id": "u"}
    assert correlation() == {}


def test_a_stream_keeps_the_correlation_of_its_start(provider: ScriptedProvider) -> None:
    """Read elsewhere it is still for whom it was made."""
    with capture() as captured:
        with correlate(user_id="mine"):
            stream = litellm.completion(**arguments(provider))
        with correlate(user_id="other"):
            list(stream)

    assert of_whom(captured.generations[0].attributes) == {"user.id": "mine"}


async def test_tasks_and_threads_take_it_along(provider: ScriptedProvider) -> None:
    """Tasks do by themselves, threads where the program copies its context, DSPy's where it makes them."""
    provider.scripts["program"] = Script(gap=0)
    lm = dspy.LM("openai/program", api_base=provider.base_url, api_key="none", cache=False, num_retries=0)
    predict = dspy.Predict("question -> answer")
    with capture() as captured, correlate(request_id="r-9"):
        await asyncio.gather(*(asyncio.create_task(astreamed(provider)) for _ in range(2)))
        await asyncio.to_thread(streamed, provider)
        thread = threading.Thread(target=contextvars.copy_context().run, args=(streamed, provider))
        thread.start()
        thread.join()
        with dspy.context(lm=lm):
            dspy.Parallel(num_threads=2)([(predict, {"question": f"{n}"}) for n in range(2)])

    assert len(captured.generations) == 6
    assert {generation.attributes.get("tokenstream.request_id") for generation in captured.generations} == {"r-9"}


# --- What it takes -------------------------------------------------------------------------------


async def test_tasks_may_share_one() -> None:
    """Made once and entered by tasks that overlap, it is over for each when that one leaves it."""
    shared, both_in = correlate(operation="shared"), asyncio.Event()

    async def task(*, first: bool) -> list[Mapping[str, str]]:
        with shared:
            if first:
                await both_in.wait()
            both_in.set()
            held = correlation()
        await asyncio.sleep(0)
        return [held, correlation()]

    for seen in await asyncio.gather(task(first=True), task(first=False)):
        assert seen == [{"operation": "shared"}, {}]


def test_a_value_that_is_no_string_is_refused() -> None:
    """With the name of the argument; an unknown one is Python's to refuse."""
    with pytest.raises(TypeError, match=r"correlate\(user_id=\.\.\.\) takes a string, not int"):
        correlate(user_id=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tenant"):
        correlate(tenant="t")  # type: ignore[call-arg]


def test_long_and_broken_values_do_no_harm(provider: ScriptedProvider) -> None:
    """A header of a request may be anything: it is cut, repaired, and never raises or loses the span."""
    with capture() as captured, correlate(request_id="r" * 1_000, user_id="half \ud83d", conversation_id=""):
        streamed(provider)

    assert of_whom(captured.generations[0].attributes) == {
        "tokenstream.request_id": "r" * LONGEST_VALUE,
        "user.id": "half \ufffd",
    }


def test_it_decorates_functions() -> None:
    """Each call has it, also inside another call of the same function."""

    @correlate(operation="outer")
    def depth(more: int) -> list[str]:
        held = [correlation()["operation"]]
        return held + depth(more - 1) if more else held

    @correlate(operation="waiting")
    async def waiting() -> str:
        await asyncio.sleep(0)
        return correlation()["operation"]

    assert depth(2) == ["outer"] * 3
    assert asyncio.run(waiting()) == "waiting"
    assert correlation() == {}


# --- Generators ----------------------------------------------------------------------------------


async def test_a_decorated_async_generator_keeps_it_to_itself(provider: ScriptedProvider) -> None:
    """Two of them read by turns: each stream is for its own request, and their reader for none."""

    async def answer(question: str) -> AsyncIterator[str]:
        async for chunk in await litellm.acompletion(**arguments(provider, LETTERS)):
            yield chunk.choices[0].delta.content or ""
        await astreamed(provider)  # a second call, after many a pause
        yield question

    with capture() as captured:
        both = [correlate(request_id=name)(answer)(name) for name in "ab"]
        for _ in range(5):
            for each in both:
                await anext(each)
                assert correlation() == {}
        for each in both:
            [piece async for piece in each]
            assert correlation() == {}

    assert sorted(g.attributes["tokenstream.request_id"] for g in captured.generations) == ["a", "a", "b", "b"]


def test_a_decorated_generator_keeps_it_to_itself() -> None:
    """Left early it is closed, with its own correlation; what it returns is returned."""
    closed = []

    @correlate(request_id="r")
    def count(to: int) -> Iterator[str]:
        try:
            for _ in range(to):
                yield correlation()["request_id"]
        finally:
            closed.append(correlation()["request_id"])

    for held in count(3):
        assert (held, correlation()) == ("r", {})
        break
    assert list(count(2)) == ["r", "r"]
    assert closed == ["r", "r"]


def test_a_decorated_generator_is_sent_values_and_errors() -> None:
    """What a reader sends arrives, an error it throws in is the generator's to deal with, and its end has its value."""

    @correlate(request_id="r")
    def echo() -> Generator[tuple[Any, str], Any, str]:
        given: Any = None
        while given != "enough":
            try:
                given = yield given, correlation()["request_id"]
            except ValueError as error:
                given = str(error)
        return "over"

    echoing = echo()
    assert next(echoing) == (None, "r")
    assert echoing.send(5) == (5, "r")
    assert echoing.throw(ValueError("thrown")) == ("thrown", "r")
    with pytest.raises(StopIteration) as end:
        echoing.send("enough")
    assert end.value.value == "over"
    with pytest.raises(LookupError), contextmanager(echo)():
        raise LookupError


async def test_a_decorated_async_generator_is_sent_values_and_errors() -> None:
    """The same for one that is awaited."""

    @correlate(request_id="r")
    async def echo() -> AsyncGenerator[tuple[Any, str], Any]:
        given: Any = None
        while given != "enough":
            try:
                given = yield given, correlation()["request_id"]
            except ValueError as error:
                given = str(error)

    echoing = echo()
    assert await anext(echoing) == (None, "r")
    assert await echoing.asend(5) == (5, "r")
    assert await echoing.athrow(ValueError("thrown")) == ("thrown", "r")
    with pytest.raises(StopAsyncIteration):
        await echoing.asend("enough")
    with pytest.raises(LookupError):
        async with asynccontextmanager(echo)():
            raise LookupError


async def test_a_with_statement_around_a_yield_holds_in_the_reader_until_it_is_closed() -> None:
    """Why the decorator is there; closing the generator in its reader's task puts everything back."""

    async def answer() -> AsyncIterator[str]:
        with correlate(request_id="r"):
            yield "a"
            yield "b"

    before = get_current()
    stream = answer()
    await anext(stream)
    assert correlation() == {"request_id": "r"}
    await stream.aclose()
    assert correlation() == {}
    assert get_current() == before


# --- Baggage -------------------------------------------------------------------------------------


def test_only_listed_baggage_is_read(provider: ScriptedProvider) -> None:
    """It stands under its own name, cannot take an attribute's place, and what correlate was given wins."""
    context = get_current()
    for key, value in {"tenant": "t-1", "secret": "s", "user.id": "from baggage", "gen_ai.request.model": "x"}.items():
        context = baggage.set_baggage(key, value, context)
    token = attach(context)
    try:
        listed = "tenant, user.id, gen_ai.request.model"
        with capture(baggage_keys=listed) as captured, TokenCollector() as collected:
            streamed(provider)
            with correlate(user_id="u-4"):
                streamed(provider)
    finally:
        detach(token)

    first, second = (generation.attributes for generation in captured.generations)
    assert (first["tenant"], first["user.id"], second["user.id"]) == ("t-1", "from baggage", "u-4")
    assert first["gen_ai.request.model"] == "test"
    assert "secret" not in first
    assert {event.correlation["user_id"] for event in collected.events} == {"from baggage", "u-4"}
    assert {event.correlation["tenant"] for event in collected.events} == {"t-1"}


def test_nothing_of_it_is_sent_to_the_provider(provider: ScriptedProvider) -> None:
    """With an HTTP instrumentation that sends baggage along the request has the program's own baggage and no more."""
    token = attach(baggage.set_baggage("probe", "sent"))
    with capture(baggage_keys="probe") as captured:
        HTTPXClientInstrumentor().instrument(tracer_provider=captured.tracer_provider)
        try:
            with correlate(**GIVEN, operation="summary"):
                lm = dspy.LM("openai/test", api_base=provider.base_url, api_key="none", cache=False, num_retries=0)
                provider.scripts["test"] = LETTERS
                lm("Hello.")
                streamed(provider)
        finally:
            HTTPXClientInstrumentor().uninstrument()
            detach(token)

    assert len(captured.generations) == 2
    headers = [{name.lower(): value for name, value in each.headers.items()} for each in provider.log.exchanges()]
    assert "probe=sent" in {each.get("baggage") for each in headers}
    assert {each.get("baggage") for each in headers} <= {"probe=sent", None}
    for given in (*GIVEN.values(), "summary"):
        assert given not in str(headers)
        assert given not in str([each.body for each in provider.log.exchanges()])
