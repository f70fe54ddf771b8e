"""Evaluate and optimizers call programs by the thousand: model calls are told, the rest only on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
import pytest

from otel_tokenstream import signals, stream_fields
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.programs.catalogue import ENGINES, QUESTION, Rag, language_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider

EXAMPLES = [dspy.Example(question=f"Question {number}?", answer="Yes.").with_inputs("question") for number in range(4)]


@pytest.fixture(params=ENGINES, autouse=True)
def lm(request: Any, provider: ScriptedProvider) -> Iterator[None]:
    provider.scripts["gpt-4o"] = Script(gap=0.0002)
    with dspy.context(lm=language_model(provider, request.param), adapter=dspy.ChatAdapter()):
        yield


def evaluate() -> None:
    dspy.Evaluate(devset=EXAMPLES, metric=metric, num_threads=2, display_progress=False)(Rag())


def bootstrap() -> None:
    dspy.BootstrapFewShot(metric=metric, max_bootstrapped_demos=1, max_labeled_demos=0).compile(
        Rag(), trainset=EXAMPLES
    )


def random_search() -> None:
    dspy.BootstrapFewShotWithRandomSearch(
        metric=metric, num_candidate_programs=1, max_bootstrapped_demos=1, num_threads=2
    ).compile(Rag(), trainset=EXAMPLES[:2], valset=EXAMPLES[2:])


def propose() -> None:
    dspy.COPRO(metric=metric, breadth=2, depth=1).compile(
        dspy.Predict("question -> answer"),
        trainset=EXAMPLES[:2],
        eval_kwargs={"num_threads": 1, "display_progress": False},
    )


def metric(_example: Any, prediction: Any, _trace: Any = None) -> bool:
    return len(prediction.answer) > 1


RUNS = {"evaluate": evaluate, "bootstrap": bootstrap, "random search": random_search, "proposals": propose}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_run_shows_its_model_calls_and_nothing_else(run: Callable[[], None]) -> None:
    """No modules, no retrievals, no streams, whatever lists fields; what it used is in spans and metrics."""
    with capture(dspy_stream="*") as captured, stream_fields(["answer"]):
        run()

    assert len(captured.generations) >= 2
    assert {span.name for span in captured.spans} == {"chat gpt-4o"}
    assert all(signals.REQUEST_STREAM not in call.attributes for call in captured.generations)
    assert {call.events == [] for call in captured.generations} == {True}
    assert sum(point.value for point in captured.metrics[signals.TOKENS]) > 100


def test_one_switch_shows_everything() -> None:
    """As anywhere else, in the threads of the run too."""
    with capture(dspy_optimizers=True, dspy_stream="answer") as captured:
        evaluate()

    names = [span.name for span in captured.spans]
    assert (names.count("Rag"), names.count("retrieval"), names.count("chat gpt-4o")) == (4, 4, 8)
    assert sum(signals.REQUEST_STREAM in call.attributes for call in captured.generations) == 4


def test_after_a_run_everything_is_told_again() -> None:
    """A run that fails leaves no silence behind."""
    with capture(dspy_stream="answer") as captured:
        with pytest.raises(ValueError, match="at least one example"):
            dspy.Evaluate(devset=[], metric=metric)(Rag())
        Rag()(question=QUESTION)

    assert [span.name for span in captured.spans][-1] == "Rag"
    assert signals.REQUEST_STREAM in captured.generations[-1].attributes
