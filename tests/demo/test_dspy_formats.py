from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import dspy
import pydantic
import pytest
from dspy.adapters import ChatAdapter, JSONAdapter, XMLAdapter

from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider


class Everything(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    reasoning: str = dspy.OutputField()
    answer: str = dspy.OutputField(desc="the answer (a short one): no more")
    count: int = dspy.OutputField()
    sure: bool = dspy.OutputField()
    confidence: float = dspy.OutputField()
    points: list[str] = dspy.OutputField()
    numbers: list[int] = dspy.OutputField()
    mood: Literal["calm", "storm"] = dspy.OutputField()
    weights: dict[str, float] = dspy.OutputField()
    anything: dict[str, Any] = dspy.OutputField()
    maybe: str | None = dspy.OutputField()


class Place(pydantic.BaseModel):
    name: str
    height: int


class Places(dspy.Signature):
    """Name places."""

    question: str = dspy.InputField()
    best: Place = dspy.OutputField()
    others: list[Place] = dspy.OutputField()


def look_up_weather(city: str, days: int = 1) -> str:
    """Weather of a city.

    Several days if asked.
    """
    return f"{city}: light rain for {days} day."


@pytest.fixture
def lm(provider: ScriptedProvider) -> dspy.LM:
    provider.scripts["fast"] = Script(gap=0)
    return dspy.LM("openai/fast", api_base=provider.base_url, api_key="none", cache=False)


@pytest.fixture(
    params=[ChatAdapter(use_json_adapter_fallback=False), JSONAdapter(), XMLAdapter(use_json_adapter_fallback=False)],
    ids=["chat", "json", "xml"],
)
def adapter(request: pytest.FixtureRequest, lm: dspy.LM) -> Iterator[dspy.Adapter]:
    with dspy.context(lm=lm, adapter=request.param):
        yield request.param


@pytest.mark.usefixtures("adapter")
def test_answers_have_the_fields_and_types_asked_for(provider: ScriptedProvider) -> None:
    """DSPy's own parser accepts the first answer of every adapter, with one request."""
    prediction = dspy.Predict(Everything)(question="Why is the sky blue over Norway?")

    assert "scatter" in prediction.answer
    assert "scattering" in prediction.reasoning
    assert len(prediction.points) == len(prediction.numbers) == 3
    assert prediction.sure is True
    assert prediction.mood == "calm"
    assert prediction.maybe == "Norway"
    assert all(isinstance(weight, float) for weight in prediction.weights.values())
    assert len(provider.log.settled()) == 1


@pytest.mark.parametrize("adapter", [ChatAdapter(use_json_adapter_fallback=False), JSONAdapter()], indirect=True)
@pytest.mark.usefixtures("adapter")
def test_classes_are_filled_by_the_schema_in_the_prompt() -> None:
    """Fields of a class of the user's get values its schema allows."""
    prediction = dspy.Predict(Places)(question="Which hills are near Bergen?")

    assert isinstance(prediction.best, Place)
    assert [type(place) for place in prediction.others] == [Place] * 3


@pytest.mark.usefixtures("adapter")
def test_agent_calls_its_tool_once_and_finishes(provider: ScriptedProvider) -> None:
    """A ReAct program calls the first tool with arguments from the question, then finish, then answers from it."""
    prediction = dspy.ReAct("question -> answer", tools=[look_up_weather])(question="What is the weather in Bergen?")

    trajectory = prediction.trajectory
    assert (trajectory["tool_name_0"], trajectory["tool_args_0"]) == ("look_up_weather", {"city": "Bergen"})
    assert trajectory["tool_name_1"] == "finish"
    assert "Bergen: light rain" in prediction.answer
    assert len(provider.log.settled()) == 3
