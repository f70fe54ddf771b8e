from __future__ import annotations

import asyncio
import copy
import json
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cloudpickle
import dspy
import pytest
from opentelemetry.trace import StatusCode

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage
from otel_tokenstream.patches.dspy import lm15
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

ENGINES = ("lm15", "litellm")
QUESTION = "Why is the sky blue?"
ANSWER = Script(gap=0.001)


@pytest.fixture(params=ENGINES)
def lm(request: Any, provider: ScriptedProvider) -> Iterator[Any]:
    """A language model by DSPy's own engine, and by litellm."""
    provider.scripts["test"] = ANSWER
    model = made_lm(provider, request.param)
    with dspy.context(lm=model, adapter=dspy.ChatAdapter()):
        yield model


def made_lm(provider: ScriptedProvider, engine: str, model: str = "test", **more: Any) -> Any:
    about = {"api_base": provider.base_url, "api_key": "none", "cache": False, "num_retries": 0}
    if engine == "litellm":
        about["engine"] = "litellm"
    return dspy.LM(f"openai/{model}", **about, **more)


def tree(captured: Capture) -> list[tuple[str, str | None]]:
    """(name, parent's name) of every span, in the order of their starts."""
    spans = sorted(captured.spans, key=lambda span: span.start_time)
    names = {span.context.span_id: span.name for span in spans}
    return [(span.name, names.get(span.parent.span_id) if span.parent else None) for span in spans]


def look_up(city: str) -> str:
    """Weather of a city."""
    return f"It rains in {city}."


def in_stream(program: Any, *, question: str = QUESTION, field: str = "answer") -> Any:
    """Read a program through sync streamify; returns its prediction."""
    listener = dspy.streaming.StreamListener(field, allow_reuse=True)
    read = dspy.streamify(program, stream_listeners=[listener], async_streaming=False)
    *_, prediction = read(question=question)
    return prediction


# --- Spans -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("lm")
def test_a_module_is_the_parent_of_its_model_call(tokenstream: Capture) -> None:
    """Predict has a span with its signature, and below it one generation, on both engines."""
    dspy.Predict("question -> answer")(question=QUESTION)

    assert tree(tokenstream) == [("Predict", None), ("chat test", "Predict")]
    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.parent.attributes[signals.DSPY_MODULE] == "Predict"
    assert generation.parent.attributes[signals.DSPY_SIGNATURE] == "question -> answer"
    assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] > 10


@pytest.mark.usefixtures("lm")
def test_nested_modules_nest(tokenstream: Capture) -> None:
    """ChainOfThought holds a Predict, which holds the call."""
    dspy.ChainOfThought("question -> answer")(question=QUESTION)

    assert tree(tokenstream) == [("ChainOfThought", None), ("Predict", "ChainOfThought"), ("chat test", "Predict")]


@pytest.mark.usefixtures("lm")
async def test_acall_has_the_same_tree(tokenstream: Capture) -> None:
    """Async programs have the spans of sync ones."""
    await dspy.ChainOfThought("question -> answer").acall(question=QUESTION)

    assert tree(tokenstream) == [("ChainOfThought", None), ("Predict", "ChainOfThought"), ("chat test", "Predict")]


@pytest.mark.usefixtures("lm")
async def test_asyncify_keeps_the_parent(tokenstream: Capture) -> None:
    """A program moved into a worker thread stays under the span it was called in."""
    tracer = tokenstream.tracer_provider.get_tracer("program")
    with tracer.start_as_current_span("request"):
        await dspy.asyncify(dspy.Predict("question -> answer"))(question=QUESTION)

    assert tree(tokenstream) == [("request", None), ("Predict", "request"), ("chat test", "Predict")]


@pytest.mark.usefixtures("lm")
def test_react_shows_every_step(tokenstream: Capture) -> None:
    """Each turn of an agent is a predictor with a call below it, all under the agent."""
    dspy.ReAct("question -> answer", tools=[look_up], max_iters=3)(question="Is it raining in Bergen?")

    spans = tree(tokenstream)
    assert spans[0] == ("ReAct", None)
    calls = [parent for name, parent in spans if name == "chat test"]
    assert len(calls) >= 3
    assert set(calls) == {"Predict"}
    assert {generation.outcome for generation in tokenstream.generations} == {"completed"}


@pytest.mark.usefixtures("lm")
def test_parallel_programs_keep_their_parent(tokenstream: Capture) -> None:
    """dspy.Parallel runs in threads: every program is under the span that was current."""
    program = dspy.Predict("question -> answer")
    tracer = tokenstream.tracer_provider.get_tracer("program")
    with tracer.start_as_current_span("request"):
        dspy.Parallel(num_threads=4, disable_progress_bar=True)(
            [(program, {"question": f"Question {number}?"}) for number in range(8)]
        )

    spans = tree(tokenstream)
    assert spans.count(("Predict", "request")) == 8
    assert spans.count(("chat test", "Predict")) == 8


@pytest.mark.usefixtures("lm")
def test_streamify_streams_the_call(tokenstream: Capture) -> None:
    """Under streamify the model call is a stream with chunks, below the program's modules."""
    in_stream(dspy.ChainOfThought("question -> answer"))

    assert tree(tokenstream) == [("ChainOfThought", None), ("Predict", "ChainOfThought"), ("chat test", "Predict")]
    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.CHUNKS] > 20
    assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] >= 0


@pytest.mark.usefixtures("lm")
async def test_async_streamify_streams_the_call(tokenstream: Capture) -> None:
    """The same for async streamify."""
    program = dspy.streamify(
        dspy.ChainOfThought("question -> answer"), stream_listeners=[dspy.streaming.StreamListener("answer")]
    )
    async for _ in program(question=QUESTION):
        pass

    assert tree(tokenstream) == [("ChainOfThought", None), ("Predict", "ChainOfThought"), ("chat test", "Predict")]
    assert tokenstream.generations[0].outcome == "completed"


@pytest.mark.usefixtures("lm")
def test_leaving_an_async_stream_early_ends_its_span(tokenstream: Capture) -> None:
    """A caller that breaks out and closes the stream leaves one ended span, with the chunks that came."""
    program = dspy.streamify(
        dspy.Predict("question -> answer"), stream_listeners=[dspy.streaming.StreamListener("answer")]
    )

    async def leave() -> None:
        async with aclosing(program(question=QUESTION)) as stream:
            async for part in stream:
                if isinstance(part, dspy.streaming.StreamResponse):
                    break

    async def leave_and_stay() -> None:
        # A task of its own: DSPy's task group is left in another task than it was entered in, which cancels this one.
        await asyncio.gather(leave(), return_exceptions=True)
        # The program's thread hands each chunk to the loop, and waits for ever once that is gone.
        while not tokenstream.generations:
            await asyncio.sleep(0.01)

    asyncio.run(leave_and_stay())

    (generation,) = tokenstream.generations
    assert generation.outcome in ("cancelled", "closed", "abandoned")
    assert generation.attributes[signals.CHUNKS] > 0


def test_counts_that_cannot_be_are_no_counts(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """On DSPy's own engine as on litellm: a sum that had one would keep all metrics from being sent."""
    provider.scripts["test"] = replace(ANSWER, usage=Usage(input=2**64 - 1, output=5))
    with dspy.context(lm=made_lm(provider, "lm15"), adapter=dspy.ChatAdapter()):
        in_stream(dspy.Predict("question -> answer"))

    (generation,) = tokenstream.generations
    assert signals.USAGE_INPUT_TOKENS not in generation.attributes
    assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == 5


def test_both_engines_have_the_same_tree(provider: ScriptedProvider) -> None:
    """A program can change its engine, and nobody who looks at its traces notices."""
    provider.scripts["test"] = ANSWER
    trees = []
    for engine in ENGINES:
        with capture() as captured, dspy.context(lm=made_lm(provider, engine), adapter=dspy.ChatAdapter()):
            in_stream(dspy.ChainOfThought("question -> answer"))
            dspy.ReAct("question -> answer", tools=[look_up], max_iters=2)(question="Is it raining in Bergen?")
        trees.append(tree(captured))

    assert trees[0] == trees[1]


# --- Fields ------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter, dspy.JSONAdapter, dspy.XMLAdapter])
@pytest.mark.usefixtures("lm")
def test_fields_rebuilt_from_events_are_the_predictions(adapter: Any) -> None:
    """With content on, the text of each field's events is the field of the prediction, on every adapter."""
    with capture(capture_content="EVENT_ONLY", event_budget=1024) as captured, dspy.context(adapter=adapter()):
        prediction = in_stream(dspy.ChainOfThought("question -> answer"))

    (generation,) = captured.generations
    assert generation.fields == {"reasoning": prediction.reasoning, "answer": prediction.answer}
    metrics = captured.metrics[signals.FIELD_TIME_TO_FIRST_TOKEN]
    assert {point.attributes[signals.AT_FIELD] for point in metrics} == {"reasoning", "answer"}


@pytest.mark.usefixtures("lm")
def test_fields_can_be_switched_off() -> None:
    """Without field attribution chunks are text of no field."""
    with capture(fields=False, capture_content="EVENT_ONLY") as captured:
        in_stream(dspy.ChainOfThought("question -> answer"))

    assert captured.generations[0].fields == {}
    assert signals.FIELD_TIME_TO_FIRST_TOKEN not in captured.metrics


# --- What the program gets -----------------------------------------------------------------------


@pytest.mark.usefixtures("lm")
def test_predictions_are_those_of_the_uninstrumented_run(provider: ScriptedProvider) -> None:
    """Same fields, same request bytes."""

    def ask() -> Any:
        provider.log.clear()
        plain = dspy.ChainOfThought("question -> answer")(question=QUESTION)
        streamed = in_stream(dspy.ChainOfThought("question -> answer"))
        return plain.toDict(), streamed.toDict(), [exchange.body for exchange in provider.log.settled(2)]

    bare = ask()
    with capture():
        assert ask() == bare


@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.usefixtures("lm")
async def test_provider_errors_reach_an_async_program_as_they_are(provider: ScriptedProvider, status: int) -> None:
    """The same of a call that is awaited."""
    provider.scripts["test"] = Script(ending="http_error", status=status)

    async def ask() -> tuple[type[BaseException], str]:
        with pytest.raises(Exception) as raised:  # noqa: PT011  # each engine has its own
            await dspy.Predict("question -> answer").acall(question=QUESTION)
        return type(raised.value), str(raised.value)

    bare = await ask()
    with capture() as captured:
        assert await ask() == bare
    assert {generation.outcome for generation in captured.generations} == {"failed"}


@pytest.mark.parametrize("status", [401, 429, 500])
@pytest.mark.usefixtures("lm")
def test_provider_errors_reach_the_program_as_they_are(provider: ScriptedProvider, status: int) -> None:
    """Class and message are those without us; the generation and its modules say what failed."""
    provider.scripts["test"] = Script(ending="http_error", status=status)

    def ask() -> tuple[type[BaseException], str]:
        with pytest.raises(Exception) as raised:  # noqa: PT011  # each engine has its own
            dspy.Predict("question -> answer")(question=QUESTION)
        return type(raised.value), str(raised.value)

    bare = ask()
    with capture() as captured:
        assert ask() == bare
    for generation in captured.generations:
        assert generation.outcome == "failed"
        assert generation.attributes[signals.ERROR_TYPE]
        assert generation.span.status.status_code is StatusCode.ERROR
    assert {span.status.status_code for span in captured.spans if span.name == "Predict"} == {StatusCode.ERROR}
    assert captured.generations


@pytest.mark.parametrize("engine", ENGINES)
def test_an_adapter_that_asks_for_json_says_so(provider: ScriptedProvider, tokenstream: Capture, engine: str) -> None:
    """By either engine the span has the form that was asked for."""
    provider.scripts["gpt-4o"] = Script(pieces=['{"answer": "blue"}'], gap=0)
    with dspy.context(lm=made_lm(provider, engine, "gpt-4o"), adapter=dspy.JSONAdapter()):
        assert dspy.Predict("question -> answer")(question=QUESTION).answer == "blue"

    assert [call.attributes[signals.OUTPUT_TYPE] for call in tokenstream.generations] == ["json"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_of_ours_ends_the_call_all_the_same(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """An answer of DSPy's own engine that we cannot read is the program's nevertheless, and its span ends."""

    def faulty(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lm15, "_read_response", faulty)
    monkeypatch.setattr(lm15, "_Reader", faulty)
    provider.scripts["test"] = Script(pieces=["[[ ## answer ## ]]\nblue"], gap=0)
    with capture() as captured, dspy.context(lm=made_lm(provider, "lm15"), adapter=dspy.ChatAdapter()):
        ask = dspy.Predict("question -> answer")
        if stream:
            read = dspy.streamify(ask, async_streaming=False)(question=QUESTION)
            assert [each.answer for each in read if isinstance(each, dspy.Prediction)] == ["blue"]
        else:
            assert ask(question=QUESTION).answer == "blue"

    assert [call.outcome for call in captured.generations] == ["completed"]


@pytest.mark.usefixtures("lm")
def test_modules_can_be_copied_pickled_and_saved(tmp_path: Path) -> None:
    """An instrumented program is as portable as a bare one, with bound methods kept on it too."""
    with capture() as captured:
        program = dspy.ChainOfThought("question -> answer")
        program.kept = program.__call__
        for other in (copy.deepcopy(program), cloudpickle.loads(cloudpickle.dumps(program)), program.deepcopy()):
            assert other(question=QUESTION).answer
        program.save(tmp_path / "program.json")
        loaded = dspy.ChainOfThought("question -> answer")
        loaded.load(tmp_path / "program.json")
        assert loaded(question=QUESTION).answer

    assert len(captured.generations) == 4


@pytest.mark.usefixtures("lm")
def test_uninstrumenting_restores_identity() -> None:
    """Classes have their own functions again, and nothing is recorded."""
    from dspy.clients.engines import lm15_engine

    def functions() -> list[Any]:
        return [
            vars(dspy.Module)["__call__"],
            vars(dspy.Module)["acall"],
            vars(lm15_engine.LM15Engine)["stream"],
            vars(lm15_engine.AsyncLM15Engine)["complete"],
            vars(dspy.adapters.Adapter)["__call__"],
        ]

    before = functions()
    with capture() as captured:
        instrumented = functions()
    assert all(ours is not theirs for ours, theirs in zip(instrumented, before, strict=True))
    assert all(now is theirs for now, theirs in zip(functions(), before, strict=True))
    dspy.Predict("question -> answer")(question=QUESTION)
    assert captured.spans == []


NATIVE = """
import json, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor
exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
for instrumentor in (LiteLLMInstrumentor(), DSPyInstrumentor()):
    instrumentor.instrument(tracer_provider=provider)
import dspy
dspy.configure(lm=dspy.LM("openai/test", api_base=sys.argv[1], api_key="none", cache=False))
dspy.Predict("question -> answer")(question="Why?")
print(json.dumps({"litellm": "litellm" in sys.modules, "spans": [span.name for span in exporter.get_finished_spans()]}))
"""


def test_dspys_own_engine_needs_no_litellm(provider: ScriptedProvider) -> None:
    """Instrumenting both libraries imports neither, and a native call never loads litellm."""
    provider.scripts["test"] = ANSWER
    done = subprocess.run(
        [sys.executable, "-c", NATIVE, provider.base_url], capture_output=True, text=True, timeout=180, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"litellm": False, "spans": ["chat test", "Predict"]}


@pytest.mark.usefixtures("lm")
def test_opening_waits_and_consumer_time_make_up_the_duration(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """DSPy's own engine sends its request in the first read: what litellm has as opening is a wait there."""
    provider.scripts["test"] = replace(ANSWER, before_headers=0.6, first_piece=0.4)
    in_stream(dspy.Predict("question -> answer"))

    (generation,) = tokenstream.generations
    said, span = generation.attributes, generation.span
    opening, wait = said[signals.OPENING_MS], said[signals.WAIT_TOTAL_MS]
    assert opening + wait >= 990
    whole = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    assert opening + wait + said[signals.CONSUMER_TOTAL_MS] == pytest.approx(whole, abs=3)
