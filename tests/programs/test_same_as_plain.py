"""A plain call that is streamed underneath gives its program what it gives without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import dspy
import pytest

from otel_tokenstream import signals, stream_fields
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.programs.catalogue import ADAPTERS, CASES, ENGINES, QUESTION, Run, ask, language_model, told

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

FAST = Script(gap=0.0002)


@pytest.fixture(autouse=True)
def quick(provider: ScriptedProvider) -> None:
    provider.scripts["gpt-4o"] = FAST
    provider.scripts["unpriced"] = FAST


async def run(provider: ScriptedProvider, engine: str, case: Any, *, asynchronous: bool, model: str = "gpt-4o") -> Run:
    provider.log.clear()
    lm = language_model(provider, engine, model)
    with dspy.context(lm=lm, track_usage=True):
        prediction = await ask(case.make(), case.inputs, asynchronous=asynchronous)
    return told(provider, lm, prediction)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", CASES)
async def test_everything_the_program_gets_is_the_same(
    provider: ScriptedProvider, name: str, adapter: str, engine: str, *, asynchronous: bool
) -> None:
    """Prediction, usage, history with its responses and costs, and the requests but for their being streams."""
    case = CASES[name]
    with dspy.context(adapter=ADAPTERS[adapter]()):
        bare = await run(provider, engine, case, asynchronous=asynchronous)
        with_text = capture(capture_content="EVENT_ONLY", event_budget=1024, content_limit=1 << 20)
        with with_text as captured, stream_fields(case.fields):
            streamed = await run(provider, engine, case, asynchronous=asynchronous)

    assert streamed == bare
    assert bare.usage
    assert bare.requests
    seen = [call for call in captured.generations if call.attributes.get(signals.REQUEST_STREAM)]
    assert set().union(*(call.fields for call in seen)) == set(case.fields)
    for field in case.fields:
        if isinstance(bare.prediction.get(field), str):
            assert [call.fields[field] for call in seen if field in call.fields][-1] == bare.prediction[field]


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_model_without_a_price_has_none_either_way(provider: ScriptedProvider, engine: str) -> None:
    """What the history says of cost does not depend on how the call was made."""
    case = CASES["predict"]
    bare = await run(provider, engine, case, asynchronous=False, model="unpriced")
    with capture(), stream_fields("*"):
        assert await run(provider, engine, case, asynchronous=False, model="unpriced") == bare


@pytest.mark.parametrize("first", ["plain", "streamed"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("empty_cache")
async def test_streamed_and_plain_calls_share_one_cache(
    provider: ScriptedProvider, engine: str, first: str, *, asynchronous: bool
) -> None:
    """The keys are the same, and an entry serves both: one request, two equal predictions."""
    program = dspy.ChainOfThought("question -> answer")
    predictions = []
    with capture(), dspy.context(lm=language_model(provider, engine, cache=True)):
        for fields in ([], ["answer"]) if first == "plain" else (["answer"], []):
            with stream_fields(fields):
                predictions.append(await ask(program, {"question": QUESTION}, asynchronous=asynchronous))

    (exchange,) = provider.log.settled(1)
    assert ("stream" in json.loads(exchange.body)) is (first == "streamed")
    assert predictions[0].toDict() == predictions[1].toDict()


@pytest.mark.parametrize(
    "script",
    [
        Script(ending="http_error", status=401),
        Script(ending="http_error", status=429),
        Script(ending="http_error", status=500),
        Script(ending="error_frame", ends_after=5, gap=0.0002),
        Script(ending="cut", ends_after=5, gap=0.0002),
        Script(ending="reset", ends_after=5, gap=0.0002),
    ],
    ids=["401", "429", "500", "error frame", "cut", "reset"],
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("engine", ENGINES)
async def test_failures_are_of_the_same_class_and_retried_as_often(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, engine: str, script: Script, *, asynchronous: bool
) -> None:
    """DSPy's retries see what they see without us; no call is made again behind their back."""
    monkeypatch.setattr("dspy.clients.execution._delay", lambda *_: 0.01, raising=False)  # before a retry, seconds
    provider.scripts["gpt-4o"] = script

    async def fail() -> tuple[type[BaseException], int]:
        provider.log.clear()
        with (
            dspy.context(lm=language_model(provider, engine, num_retries=1)),
            pytest.raises(Exception) as raised,  # noqa: PT011  # each failure has its own
        ):
            await ask(dspy.Predict("question -> answer"), {"question": QUESTION}, asynchronous=asynchronous)
        return type(raised.value), len(provider.log.exchanges())

    bare = await fail()
    with capture() as captured, stream_fields(["answer"]):
        assert await fail() == bare
    assert {call.outcome for call in captured.generations} == {"failed"}
    assert len(captured.generations) == bare[1]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{"n": 2, "temperature": 1.0}, {"logprobs": True}], ids=["choices", "logprobs"])
async def test_a_request_that_cannot_stream_is_made_plainly(
    provider: ScriptedProvider, engine: str, options: dict[str, Any]
) -> None:
    """Several choices of one litellm call, and the likelihoods of tokens."""
    with capture(), stream_fields("*"), dspy.context(lm=language_model(provider, engine, **options)):
        dspy.Predict("question -> answer")(question=QUESTION)

    bodies = [json.loads(exchange.body) for exchange in provider.log.exchanges()]
    # DSPy's own engine asks for one choice at a time, which a stream can give.
    assert {body.get("stream", False) for body in bodies} == {engine == "lm15" and "n" in options}
