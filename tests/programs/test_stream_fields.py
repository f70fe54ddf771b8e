"""``stream_fields``: where it holds, which calls it streams, what it refuses."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dspy
import pytest

from otel_tokenstream import DSPyInstrumentor, SettingError, signals, stream_fields
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import capture
from tests.programs.catalogue import ENGINES, QUESTION, WITH_TEXT, Decorated, Rag, ask, fields, language_model, streamed

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture


class Heir(Decorated):
    pass


class Choosing(dspy.Module):
    """Streams long questions only, by its own decision."""

    def __init__(self) -> None:
        super().__init__()
        self.respond = dspy.ChainOfThought("question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        with stream_fields(["answer"] if len(question) > 10 else []):
            return self.respond(question=question)


# --- Where it holds ----------------------------------------------------------------------------


@pytest.mark.usefixtures("lm")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_decorated_class_is_streamed(
    captured: Capture, provider: ScriptedProvider, *, asynchronous: bool
) -> None:
    """The listed field has its tokens, the other one has none, and the prediction has both."""
    program = Rag()
    stream_fields(["answer"])(Rag)
    try:
        prediction = await ask(program, {"question": QUESTION}, asynchronous=asynchronous)
    finally:
        del Rag._tokenstream_fields

    assert streamed(provider) == [False, True]
    (call,) = (call for call in captured.generations if call.fields)
    assert call.fields == {"answer": prediction.answer}
    assert prediction.reasoning
    assert call.attributes[signals.CHUNKS] > len(call.events) / 2 > 10


@pytest.mark.usefixtures("lm")
def test_subclasses_of_a_decorated_class_are_streamed(captured: Capture) -> None:
    """A decorator holds for what inherits from its class."""
    Heir()(question=QUESTION)
    assert fields(captured) == [{"answer"}]


@pytest.mark.usefixtures("lm")
def test_decorators_of_one_class_add_up(captured: Capture) -> None:
    """Decorating a class that is decorated already does no harm, and lists more fields."""

    @stream_fields(["reasoning"])
    @stream_fields(["answer"])
    @stream_fields(["answer"])
    class Twice(Decorated):
        pass

    Twice()(question=QUESTION)
    Decorated()(question=QUESTION)
    assert fields(captured) == [{"reasoning", "answer"}, {"answer"}]


@pytest.mark.usefixtures("lm")
def test_the_innermost_wins_and_a_with_before_a_decorator(captured: Capture, provider: ScriptedProvider) -> None:
    """What stands nearer to the call says more exactly what is wanted."""
    program = Decorated()
    with stream_fields(["reasoning"]):
        program(question=QUESTION)
        with stream_fields([]):
            program(question=QUESTION)
        program(question=QUESTION)
    program(question=QUESTION)

    assert fields(captured) == [{"reasoning"}, set(), {"reasoning"}, {"answer"}]
    assert streamed(provider) == [True, False, True, True]


@pytest.mark.usefixtures("lm")
def test_a_program_decides_for_each_call(captured: Capture, provider: ScriptedProvider) -> None:
    """Inside forward too, and off again."""
    program = Choosing()
    program(question="Why?")
    program(question=QUESTION)
    program(question="Why?")

    assert streamed(provider) == [False, True, False]
    assert fields(captured) == [set(), {"answer"}, set()]


@pytest.mark.usefixtures("lm")
def test_calls_without_the_field_stay_plain(captured: Capture, provider: ScriptedProvider) -> None:
    """Of a program's predictors only those are streamed whose signature has a listed field; a star takes all."""
    with stream_fields(["reasoning", "answer"]):
        Rag()(question=QUESTION)
    with stream_fields("*"):
        Rag()(question=QUESTION)

    assert streamed(provider) == [False, True, True, True]
    assert fields(captured) == [set(), {"reasoning", "answer"}, {"query"}, {"reasoning", "answer"}]


@pytest.mark.usefixtures("lm")
def test_a_variable_streams_without_a_line_of_code(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment lists fields as well, and what the program itself says goes before it."""
    monkeypatch.setenv("OTEL_TOKENSTREAM_DSPY_STREAM", "answer, reasoning")
    with capture(**WITH_TEXT) as captured:
        Rag()(question=QUESTION)
        with stream_fields([]):
            Rag()(question=QUESTION)

    assert streamed(provider) == [False, True, False, False]
    assert fields(captured)[:2] == [set(), {"reasoning", "answer"}]


def test_a_bad_variable_names_the_allowed_values() -> None:
    """A name no field can have is refused, and a star stands alone."""
    for value in ("answer;reasoning", "answer,*", "two words"):
        with pytest.raises(SettingError, match=r"OTEL_TOKENSTREAM_DSPY_STREAM=.*names of output fields.*\* for all"):
            Settings.load(environ={"OTEL_TOKENSTREAM_DSPY_STREAM": value})
    assert Settings.load(environ={"OTEL_TOKENSTREAM_DSPY_STREAM": "*"}).dspy_stream == {"*"}


@pytest.mark.parametrize("engine", ENGINES)
def test_dspys_instrumentation_alone_suffices(provider: ScriptedProvider, engine: str) -> None:
    """A streamed call is seen without litellm's instrumentation, once, as it is with both."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider.scripts["gpt-4o"] = Script(gap=0.0005)
    exporter, tracer_provider = InMemorySpanExporter(), TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    DSPyInstrumentor().instrument(tracer_provider=tracer_provider)
    try:
        with dspy.context(lm=language_model(provider, engine)), stream_fields(["answer"]):
            dspy.Predict("question -> answer")(question=QUESTION)
    finally:
        DSPyInstrumentor().uninstrument()

    call, module = exporter.get_finished_spans()
    assert (call.name, module.name) == ("chat gpt-4o", "Predict")
    assert call.attributes[signals.CHUNKS] > 10
    assert signals.AT_FIELD in {key for event in call.events for key in event.attributes}


@pytest.mark.parametrize("engine", ENGINES)
def test_without_instrumentation_nothing_changes(provider: ScriptedProvider, engine: str) -> None:
    """A decorated program runs in a process that is not instrumented, with the requests it always made."""
    provider.scripts["gpt-4o"] = Script(gap=0.0005)
    with dspy.context(lm=language_model(provider, engine)), stream_fields(["answer"]):
        assert Decorated()(question=QUESTION).answer
    assert streamed(provider) == [False]


# --- Who calls -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("lm")
def test_worker_threads_know_of_it(captured: Capture) -> None:
    """dspy.Parallel's threads stream what holds where they were started."""
    program = dspy.ChainOfThought("question -> answer")
    with stream_fields(["answer"]):
        dspy.Parallel(num_threads=3, disable_progress_bar=True)(
            [(program, {"question": f"Question {number}?"}) for number in range(6)]
        )
    assert fields(captured) == [{"answer"}] * 6


@pytest.mark.usefixtures("lm")
async def test_asyncify_knows_of_it(captured: Capture) -> None:
    """A program in a thread of asyncify streams what holds in the task that awaits it."""
    with stream_fields(["answer"]):
        await dspy.asyncify(dspy.ChainOfThought("question -> answer"))(question=QUESTION)
    assert fields(captured) == [{"answer"}]


@pytest.mark.usefixtures("lm")
def test_streamify_is_left_alone(captured: Capture, provider: ScriptedProvider) -> None:
    """What streams already has all its fields told, and is asked for once."""
    listener = dspy.streaming.StreamListener("answer")
    read = dspy.streamify(Decorated(), stream_listeners=[listener], async_streaming=False)
    *parts, prediction = read(question=QUESTION)

    assert streamed(provider) == [True]
    assert fields(captured) == [{"reasoning", "answer"}]
    assert parts
    assert captured.generations[0].fields["answer"] == prediction.answer


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_concurrent_calls_on_one_module_never_mix(
    lm: Any, captured: Capture, provider: ScriptedProvider, how: str
) -> None:
    """Of calls that run at the same time on one instance each has the fields it was made with, and nothing else."""
    provider.scripts["gpt-4o"] = Script(gap=0.002)
    program = dspy.ChainOfThought("question -> answer")
    wanted = [["answer"], ["reasoning"], [], ["reasoning", "answer"]] * 2
    tracer = captured.tracer_provider.get_tracer("program")
    together = threading.Barrier(len(wanted))

    def call(number: int) -> None:
        span = tracer.start_as_current_span("request", attributes={"number": number})
        with span, dspy.context(lm=lm, adapter=dspy.ChatAdapter()), stream_fields(wanted[number]):
            together.wait(60)
            program(question=QUESTION)

    async def acall(number: int) -> None:
        with tracer.start_as_current_span("request", attributes={"number": number}), stream_fields(wanted[number]):
            await asyncio.sleep(0)  # all have entered theirs before any calls
            await program.acall(question=QUESTION)

    async def gather() -> None:
        await asyncio.gather(*(acall(number) for number in range(len(wanted))))

    if how == "threads":
        with ThreadPoolExecutor(len(wanted)) as pool:
            list(pool.map(call, range(len(wanted))))
    else:
        asyncio.run(gather())

    by_trace = {span.context.trace_id: span.attributes["number"] for span in captured.spans if span.name == "request"}
    found = {by_trace[call.span.context.trace_id]: set(call.fields) for call in captured.generations}
    assert found == {number: set(listed) for number, listed in enumerate(wanted)}
    assert not hasattr(program, "_tokenstream_fields")


async def test_a_call_that_is_cancelled_ends_its_span(lm: Any, captured: Capture, provider: ScriptedProvider) -> None:
    """Cancelling the task of a program cancels the stream underneath, and the provider sees its client go."""
    provider.scripts["gpt-4o"] = Script(gap=0.001, ending="hang", ends_after=20)
    program = dspy.Predict("question -> answer")
    with stream_fields(["answer"]):
        task = asyncio.create_task(program.acall(question=QUESTION))
        while not (provider.log.exchanges() and len(provider.log.exchanges()[0].sent("text")) >= 20):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    (exchange,) = provider.log.settled(1)
    assert exchange.ended == "disconnected"
    (call,) = captured.generations
    assert call.outcome == "cancelled"
    assert lm.history == []


# --- What it refuses -----------------------------------------------------------------------------


@pytest.mark.usefixtures("lm")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_an_unknown_field_is_an_error_that_names_the_known_ones(
    captured: Capture, provider: ScriptedProvider, *, asynchronous: bool
) -> None:
    """At the first call, before a model is asked; again at the next, as nothing was put right."""

    @stream_fields(["anwser"])
    class Misspelt(Rag):
        pass

    program = Misspelt()
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"Misspelt has no output field anwser, .* it has answer, query, reasoning"
        ):
            await ask(program, {"question": QUESTION}, asynchronous=asynchronous)
    with pytest.raises(ValueError, match="Rag has no output field summary"), stream_fields(["summary", "answer"]):
        await ask(Rag(), {"question": QUESTION}, asynchronous=asynchronous)
    assert provider.log.exchanges() == []
    assert captured.generations == []


@pytest.mark.usefixtures("lm")
def test_inside_forward_the_fields_of_the_whole_program_are_known(captured: Capture) -> None:
    """A step that lacks the field is no mistake where another step of the program has it."""

    class Whole(Rag):
        def forward(self, question: str) -> dspy.Prediction:
            with stream_fields(["answer"]):
                query = self.search(question=question).query
                return self.respond(context=self.retrieve(query).passages, question=question)

    Whole()(question=QUESTION)
    assert fields(captured) == [set(), {"answer"}]


@pytest.mark.parametrize("given", [["two words"], "answer,*", [""", "a-b"""]])
def test_names_no_field_can_have_are_refused(given: Any) -> None:
    """Where it is written, without any program."""
    with pytest.raises(ValueError, match="names of output fields"):
        stream_fields(given)


def test_only_classes_of_modules_are_decorated() -> None:
    """The error says what to write instead."""
    things: list[Any] = [lambda: None, Decorated(), int]
    for thing in things:
        with pytest.raises(TypeError, match=r"with stream_fields"):
            stream_fields(["answer"])(thing)
