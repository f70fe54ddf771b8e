from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.programs.catalogue import QUESTION, language_model, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture


class Desk(dspy.Module):
    """A whole program with an agent in it."""

    def __init__(self) -> None:
        super().__init__()
        self.agent = dspy.ReAct("question -> answer", tools=[look_up], max_iters=2)
        self.check = dspy.Predict("answer -> verdict")

    def forward(self, question: str) -> Any:
        return self.check(answer=self.agent(question=question).answer)


@pytest.fixture(autouse=True)
def lm(provider: ScriptedProvider) -> Iterator[None]:
    provider.scripts["gpt-4o"] = Script(gap=0.0002)
    with dspy.context(lm=language_model(provider, "lm15"), adapter=dspy.ChatAdapter()):
        yield


def points(captured: Capture, name: str) -> dict[str, Any]:
    return {point.attributes[signals.AGENT_NAME]: point for point in captured.metrics.get(name, ())}


@pytest.mark.parametrize("names", ["new", "both"])
def test_an_agent_and_its_program_are_named_as_the_convention_says(names: str) -> None:
    """The agent is invoke_agent, the outermost program of the user's invoke_workflow; predictors keep their class."""
    with capture(metric_names=names) as captured:
        Desk()(question=QUESTION)

    spans = {span.name: span for span in captured.spans}
    agent, program = spans["invoke_agent ReAct"], spans["invoke_workflow Desk"]
    assert agent.attributes[signals.OPERATION_NAME] == "invoke_agent"
    assert agent.attributes[signals.AGENT_NAME] == agent.attributes[signals.DSPY_MODULE] == "ReAct"
    assert agent.parent.span_id == program.context.span_id
    assert "Predict" in spans


def test_the_old_names_keep_the_class_alone() -> None:
    """The default leaves the names of spans as they were."""
    with capture() as captured:
        Desk()(question=QUESTION)

    agent = next(span for span in captured.spans if span.name == "ReAct")
    assert signals.AGENT_NAME not in agent.attributes
    assert "Desk" in {span.name for span in captured.spans}


def test_each_invocation_counts_its_own_calls() -> None:
    """What an agent calls is its own, and not once more its program's."""
    with capture(metric_names="new") as captured:
        Desk()(question=QUESTION)

    tools = sum(span.name.startswith("execute_tool") for span in captured.spans)
    models = points(captured, signals.INVOKE_AGENT_INFERENCE_CALLS)
    assert models["Desk"].sum == 1
    assert models["ReAct"].sum == len(captured.generations) - 1
    assert points(captured, signals.INVOKE_AGENT_TOOL_CALLS)["ReAct"].sum == tools > 0
    assert points(captured, signals.INVOKE_AGENT_TOOL_CALLS)["Desk"].sum == 0


def test_the_duration_is_the_spans() -> None:
    """The convention wants the metric to say what the span says."""
    with capture(metric_names="new") as captured:
        Desk()(question=QUESTION)

    span = next(span for span in captured.spans if span.name == "invoke_agent ReAct")
    duration = points(captured, signals.INVOKE_AGENT_DURATION)["ReAct"]
    assert duration.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=0.05)


def test_an_agent_that_raises_is_counted_with_its_error(provider: ScriptedProvider) -> None:
    """The error's class stands on span and metric; the program gets the error as without us."""
    provider.scripts["gpt-4o"] = Script(ending="http_error", status=401)
    with capture(metric_names="new") as captured, pytest.raises(Exception, match="fails here on request") as raised:
        Desk()(question=QUESTION)

    errors = {point.attributes.get(signals.ERROR_TYPE) for point in captured.metrics[signals.INVOKE_AGENT_DURATION]}
    assert errors == {type(raised.value).__qualname__}
