from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from otel_tokenstream import LiteLLMInstrumentor, TokenCollector, attach, correlate, signals, subscribe, tokens
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.emit import observers
from otel_tokenstream.core.runtime import guard
from otel_tokenstream.demo.provider import Script, reasoning
from otel_tokenstream.live.events import TYPES, StallEvent, StartEvent, TokenEvent
from otel_tokenstream.testing import capture
from tests.live.live_calls import LETTERS, QUESTION, Seen, arguments, astreamed, program, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.live.events import Event
    from otel_tokenstream.testing import Capture


@pytest.fixture
def quiet() -> Iterator[Capture]:
    """Both libraries instrumented with the default settings: no content."""
    with capture() as captured:
        yield captured


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    """Every test leaves as many observers behind as it found."""
    before = len(observers._observers)
    yield
    gc.collect()
    assert len(observers._observers) == before


# --- What they are told --------------------------------------------------------------------------


def test_a_callback_is_told_of_a_stream_in_order(provider: ScriptedProvider, quiet: Capture) -> None:
    """Start, one token event a chunk, end; with the ids of the span, on a thread that is not the caller's."""
    seen = Seen()
    with subscribe(seen):
        streamed(provider)

    assert seen.types == ["start", *["token"] * 9, "end"]
    assert seen.text == "abcdefgh"
    assert [token.index for token in seen.tokens[:-1]] == list(range(8))
    assert [token.kind for token in seen.tokens] == ["text"] * 8 + ["empty"]
    assert seen.tokens[-1].finish_reason == seen.end.finish_reason == "stop"
    (generation,) = quiet.generations
    assert {event.stream_id for event in seen.events} == {f"{generation.span.context.span_id:016x}"}
    assert {event.trace_id for event in seen.events} == {f"{generation.span.context.trace_id:032x}"}
    assert {(event.operation, event.model, event.provider) for event in seen.events} == {("chat", "test", "openai")}
    assert seen.end.outcome == "completed"
    assert seen.end.chunks == generation.attributes[signals.CHUNKS]
    assert threading.current_thread().name not in seen.threads
    assert len(seen.threads) == 1


def test_times_are_those_of_the_span(provider: ScriptedProvider, quiet: Capture) -> None:
    """Offsets, gaps and waits of a token are those of the span's event of the same chunk."""
    with TokenCollector() as collected:
        streamed(provider)

    (generation,) = quiet.generations
    events = [event for event in generation.tokens if event.attributes[signals.AT_CHARS]]
    told = [token for token in collected.tokens if token.chars]
    assert [(t.chunk, t.offset_us, t.gap_us, t.wait_us, t.at_ns) for t in told] == [
        (
            event.attributes[signals.AT_INDEX],
            event.attributes[signals.AT_OFFSET_US],
            event.attributes[signals.AT_GAP_US],
            event.attributes[signals.AT_WAIT_US],
            event.at,
        )
        for event in events
    ]


@pytest.mark.usefixtures("quiet")
async def test_a_coroutine_function_is_called_on_the_loop(provider: ScriptedProvider) -> None:
    """In order and one at a time, though each call gives the loop away."""
    seen, running, most = Seen(), 0, 0

    async def callback(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        seen(event)
        running -= 1

    async with subscribe(callback):
        await astreamed(provider)

    assert seen.types == ["start", *["token"] * 9, "end"]
    assert seen.text == "abcdefgh"
    assert seen.threads == {threading.current_thread().name}
    assert most == 1


@pytest.mark.usefixtures("quiet")
async def test_tokens_end_with_the_call_they_are_of(provider: ScriptedProvider) -> None:
    """Everything that came before the task was done is given, and then the iteration ends."""
    answer = asyncio.create_task(astreamed(provider))
    texts = [token.text async for token in tokens().until(answer)]

    assert answer.done()
    assert "".join(text or "" for text in texts) == "abcdefgh"


@pytest.mark.usefixtures("quiet")
async def test_tokens_come_while_the_call_runs(provider: ScriptedProvider) -> None:
    """The first token is here before the stream has ended."""
    async with tokens() as live:
        stream = await litellm.acompletion(**arguments(provider, LETTERS))
        while not (await anext(stream)).choices[0].delta.content:
            pass
        assert (await anext(live)).text == "a"
        await stream.aclose()


@pytest.mark.usefixtures("quiet")
async def test_tokens_of_a_thread_come_to_the_loop(provider: ScriptedProvider) -> None:
    """A program that streams in a worker thread is seen by the loop."""
    live = tokens()
    answer = asyncio.get_running_loop().run_in_executor(None, streamed, provider)

    assert "".join([token.text or "" async for token in live.until(answer)]) == "abcdefgh"


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.usefixtures("quiet")
def test_fields_of_a_program_are_counted_apart(provider: ScriptedProvider, engine: str) -> None:
    """Each field's tokens have indexes from 0 without holes, and their text is the prediction's."""
    with TokenCollector() as collected:
        *_, prediction = program(provider, engine)(question=QUESTION)

    assert {name: text.strip() for name, text in collected.fields.items()} == {
        "reasoning": prediction.reasoning,
        "answer": prediction.answer,
    }
    assert collected.get_text("answer").strip() == prediction.answer
    for field in ("reasoning", "answer"):
        indexes = [token.index for token in collected.tokens if token.field == field]
        assert indexes == list(range(len(indexes)))
        assert len(indexes) > 3


@pytest.mark.usefixtures("quiet")
def test_only_the_fields_that_were_asked_for_come(provider: ScriptedProvider) -> None:
    """Tokens of other fields are left out, start and end are not."""
    seen = Seen()
    with subscribe(seen, fields=["answer"]):
        *_, prediction = program(provider)(question=QUESTION)

    assert {token.field for token in seen.tokens} == {"answer"}
    assert seen.text.strip() == prediction.answer
    assert (seen.types[0], seen.types[-1]) == ("start", "end")


@pytest.mark.usefixtures("quiet")
def test_kinds_are_told_apart(provider: ScriptedProvider) -> None:
    """Reasoning is not part of the visible text."""
    with TokenCollector() as collected:
        streamed(provider, Script(pieces=[reasoning("think "), reasoning("more"), "answer"], gap=0))

    assert collected.get_text() == "answer"
    assert [(token.kind, token.text) for token in collected.tokens if token.chars] == [
        ("reasoning", "think "),
        ("reasoning", "more"),
        ("text", "answer"),
    ]


@pytest.mark.usefixtures("quiet")
def test_a_subscriber_may_ask_for_some_types_and_no_text(provider: ScriptedProvider) -> None:
    """Without text the facts still come."""
    seen = Seen()
    with subscribe(seen, types=["token", "end"], text=False):
        streamed(provider)

    assert set(seen.types) == {"token", "end"}
    assert {token.text for token in seen.tokens} == {None}
    assert sum(token.chars for token in seen.tokens) == 8


def test_text_for_a_subscriber_does_not_reach_the_span(provider: ScriptedProvider, quiet: Capture) -> None:
    """With content off the token events of the span have none, whoever looks on."""
    with TokenCollector() as collected:
        streamed(provider)

    (generation,) = quiet.generations
    assert collected.get_text() == "abcdefgh"
    assert generation.text == ""
    assert "abcdefgh" not in str(generation.attributes)


@pytest.mark.usefixtures("quiet")
def test_a_failed_stream_says_how_it_ended(provider: ScriptedProvider) -> None:
    """What came is there, and the end has outcome and class of the error."""
    seen = Seen()
    with subscribe(seen), pytest.raises(litellm.exceptions.MidStreamFallbackError):
        streamed(provider, Script(pieces=list("abcd"), gap=0, ending="error_frame", ends_after=2))

    assert seen.text == "ab"
    assert seen.end.outcome == "failed"
    assert seen.end.error_type


def test_a_call_is_seen_where_nothing_is_recorded(provider: ScriptedProvider) -> None:
    """Without SDK, span or metrics subscribers still see it, under ids of two different calls."""
    instrumentor = LiteLLMInstrumentor()
    instrumentor.instrument(tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider())
    try:
        with TokenCollector() as collected:
            streamed(provider)
            streamed(provider)
    finally:
        instrumentor.uninstrument()

    assert collected.get_text() == "abcdefgh" * 2
    assert len({event.stream_id for event in collected.events}) == 2


def test_a_stall_is_told_while_it_lasts(provider: ScriptedProvider) -> None:
    """When metrics are collected: to subscribers, and as a log record that says for whom."""
    told = threading.Event()
    seen = Seen()

    def callback(event: Event) -> None:
        seen(event)
        if isinstance(event, StallEvent):
            told.set()

    script = Script(pieces=["a", "b", "c"], gap=0, pauses={2: 1.5})
    with capture(stall_threshold=0.05, events="both") as captured, correlate(user_id="u"), subscribe(callback):
        thread = threading.Thread(target=copy_context().run, args=(streamed, provider, script))
        thread.start()
        while not told.wait(0.05):
            assert captured.metrics
        thread.join()

    assert [event.type for event in seen.events if event.type != "stall"][:3] == ["start", "token", "token"]
    assert seen.types.index("stall") == 3
    stall = seen.events[3]
    assert isinstance(stall, StallEvent)
    assert (stall.phase, stall.wait_us >= 50_000) == ("tokens", True)
    # One while it lasts, which has its phase, and one when it is over.
    records = [log.attributes for log in captured.logs if log.name == signals.STALL_EVENT]
    assert [attributes.get(signals.AT_PHASE) for attributes in records] == ["tokens", None]
    assert [attributes["user.id"] for attributes in records] == ["u", "u"]


def test_every_type_of_event_is_listed() -> None:
    """A consumer that makes events of what it reads finds the class by the type."""
    assert list(TYPES) == ["start", "token", "stall", "end", "step_start", "step_event", "step_end"]


# --- What they cost ------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_nobody_looking_on_costs_a_call_nothing(provider: ScriptedProvider) -> None:
    """Rows go nowhere else, and text is not kept for anybody."""
    with subscribe(Seen()):
        pass
    stream = litellm.completion(**arguments(provider))
    next(stream)
    (call,) = [call for call in in_flight.snapshot() if call.request.stream]
    assert call.recorder.live is None
    assert not call._keep_text
    list(stream)


def test_a_blocked_subscriber_does_not_hold_the_stream_up(provider: ScriptedProvider, quiet: Capture) -> None:
    """The stream ends while the callback still has its first event."""
    seen, free, entered = Seen(), threading.Event(), threading.Event()

    def callback(event: Event) -> None:
        entered.set()
        free.wait()
        seen(event)

    with subscribe(callback) as subscription:
        streamed(provider)
        assert entered.wait(60)
        assert seen.events == []
        assert quiet.generations[0].outcome == "completed"
        free.set()
        assert subscription.flush(60)

    assert seen.text == "abcdefgh"
    assert subscription.dropped == 0


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit])
def test_a_raising_subscriber_gets_the_next_event(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """It fails on every event, is logged once, and costs neither the stream nor its neighbour anything."""
    guard._seen.clear()
    seen, failed = Seen(), Seen()
    secret = "what the user said"

    def callback(event: Event) -> None:
        failed(event)
        raise error(secret)

    with caplog.at_level(logging.WARNING, "otel_tokenstream"), subscribe(callback) as failing, subscribe(seen):
        chunks = streamed(provider)

    assert failed.types == seen.types == ["start", *["token"] * 9, "end"]
    assert failing.dropped == len(failed.events)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "abcdefgh"
    (record,) = [record for record in caplog.records if record.name.startswith("otel_tokenstream")]
    assert secret not in record.getMessage()


@pytest.mark.parametrize("wants_async", [False, True])
async def test_dropped_events_are_counted(provider: ScriptedProvider, quiet: Capture, wants_async: bool) -> None:
    """Start and end still come; the end, the handle and the metric say how many tokens were lost."""
    seen, entered, free = Seen(), threading.Event(), threading.Event()
    before = sum(observers.dropped.values())

    def blocked(event: Event) -> None:
        entered.set()
        if isinstance(event, StartEvent):
            free.wait()
        seen(event)

    async def callback(event: Event) -> None:
        seen(event)

    if wants_async:
        async with subscribe(callback, capacity=3) as subscription:
            streamed(provider)  # without giving the loop away
    else:
        with subscribe(blocked, capacity=3) as subscription:
            stream = litellm.completion(**arguments(provider))
            assert entered.wait(60)  # the start is out of the queue
            list(stream)
            free.set()

    # A chunk without content, and the start if it still waits, take a place too.
    assert seen.text == ("a" if wants_async else "ab")
    assert (seen.types[0], seen.types[-1]) == ("start", "end")
    assert seen.end.dropped == subscription.dropped == 9 - len(seen.tokens)
    (point,) = [p for p in quiet.metrics[signals.LIVE_DROPPED] if p.attributes == {signals.LIVE_SINK: "subscriber"}]
    assert point.value >= seen.end.dropped
    assert sum(observers.dropped.values()) - before == seen.end.dropped


def test_positions_are_right_after_a_loss(provider: ScriptedProvider, quiet: Capture) -> None:
    """The chunk's number and gap count what was lost; the index, which counts events, has no hole."""
    seen, free, entered = Seen(), threading.Event(), threading.Event()

    def callback(event: Event) -> None:
        seen(event)
        if not entered.is_set():
            entered.set()
            free.wait()

    with subscribe(callback, capacity=2) as subscription:
        stream = litellm.completion(**arguments(provider))
        assert entered.wait(60)
        for _ in range(5):
            next(stream)
        free.set()
        assert subscription.flush(60)
        for _ in stream:
            assert subscription.flush(60)

    (generation,) = quiet.generations
    offsets = {e.attributes[signals.AT_INDEX]: e.attributes for e in generation.tokens}
    assert [token.index for token in seen.tokens if token.chars] == list(range(len(seen.text)))
    assert seen.text.endswith("fgh")
    assert len(seen.text) < 8
    for token in seen.tokens:
        if token.chars:
            assert token.offset_us == offsets[token.chunk][signals.AT_OFFSET_US]
            assert token.gap_us == offsets[token.chunk][signals.AT_GAP_US]


# --- Who is told what ----------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
async def test_concurrent_calls_never_mix(provider: ScriptedProvider) -> None:
    """Two requests at once on one loop: each reader gets its own request's tokens and no other's."""
    scripts = {name: Script(pieces=[f"{name}{n} " for n in range(30)], gap=0.001) for name in "ab"}

    async def request(name: str) -> str:
        with correlate(request_id=name):
            answer = asyncio.create_task(astreamed(provider, scripts[name], model=name))
        live = tokens(correlation={"request_id": name})
        return "".join([token.text or "" async for token in live.until(answer)])

    said = await asyncio.gather(*map(request, "ab"))
    assert said == ["".join(scripts[name].pieces or ()) for name in "ab"]


@pytest.mark.usefixtures("quiet")
def test_concurrent_programs_never_mix(provider: ScriptedProvider) -> None:
    """Two threads with one program each: a collector by correlation has its own tree's tokens."""

    def request(name: str) -> tuple[str, str]:
        with correlate(request_id=name), TokenCollector(correlation={"request_id": name}) as collected:
            *_, prediction = program(provider)(question=f"{QUESTION} {name}")
        assert {event.correlation["request_id"] for event in collected.events} == {name}
        return collected.get_text("answer").strip(), prediction.answer

    with ThreadPoolExecutor(2) as pool:
        for told, answer in pool.map(request, "ab"):
            assert told == answer


@pytest.mark.usefixtures("quiet")
def test_an_operation_of_the_programs_own_can_be_asked_for(provider: ScriptedProvider) -> None:
    """The name from correlate stands in the events, and calls under another one are not told."""
    with TokenCollector(operation="summary") as collected:
        streamed(provider)
        with correlate(operation="summary"):
            streamed(provider)

    assert collected.get_text() == "abcdefgh"
    assert {event.operation for event in collected.events} == {"summary"}


def test_a_string_is_no_list_of_fields() -> None:
    """fields="answer" would otherwise be the fields a, n, s, ..."""
    with pytest.raises(TypeError, match=r"\['answer'\]"):
        subscribe(Seen(), fields="answer")


@pytest.mark.usefixtures("quiet")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task does not tell who was cancelled")
async def test_a_coroutine_function_may_await_a_cancelled_task(provider: ScriptedProvider) -> None:
    """That is an error of its own and not its end."""
    seen = Seen()

    async def callback(event: Event) -> None:
        seen(event)
        raise asyncio.CancelledError

    async with subscribe(callback) as subscription:
        await astreamed(provider)
    assert seen.types == ["start", *["token"] * 9, "end"]
    assert subscription.dropped == len(seen.events)


async def test_a_coroutine_function_needs_a_loop() -> None:
    """The message says what to do."""

    async def callback(event: Event) -> None: ...

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="inside a coroutine"):
        pool.submit(subscribe, callback).result()


# --- Ends ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_nothing_comes_after_close(provider: ScriptedProvider) -> None:
    """Neither of open calls nor of new ones; the sink is closed once."""
    seen = Seen()
    attachment = attach(seen, text=True)
    stream = litellm.completion(**arguments(provider))
    next(stream)
    assert attachment.close()
    told = len(seen.events)
    list(stream)
    streamed(provider)
    assert attachment.close()
    assert (len(seen.events), seen.closed) == (told, 1)


@pytest.mark.usefixtures("quiet")
def test_a_subscriber_may_close_itself(provider: ScriptedProvider) -> None:
    """From within its callback, without waiting for itself."""
    seen = Seen()

    def callback(event: Event) -> None:
        seen(event)
        if isinstance(event, TokenEvent):
            subscription.close()

    subscription = subscribe(callback)
    streamed(provider)
    assert subscription.close(10)
    streamed(provider)
    assert len({event.stream_id for event in seen.events}) == 1


@pytest.mark.usefixtures("quiet")
def test_a_loop_that_has_ended_is_forgotten(provider: ScriptedProvider) -> None:
    """A subscription that nobody closed goes with its loop, at the next event."""

    async def leave() -> Any:
        async def callback(event: Event) -> None: ...

        return subscribe(callback), tokens()

    kept = asyncio.run(leave())
    streamed(provider)
    assert not [each for each in observers._observers.values() if not each.closed]  # type: ignore[attr-defined]
    del kept


@pytest.mark.usefixtures("quiet")
async def test_dropped_tokens_are_forgotten(provider: ScriptedProvider) -> None:
    """``break`` out of the iteration, and nobody has to close it."""
    answer = asyncio.create_task(astreamed(provider))
    async for token in tokens().until(answer):
        assert token.text == "a"
        break
    gc.collect()
    assert not observers.present()
    await answer
