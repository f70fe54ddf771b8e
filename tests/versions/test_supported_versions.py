"""What must hold with every supported version: ``make test-oldest`` runs these with the oldest ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

PROGRAM = Path(__file__).with_name("streams.py")


def spans_of(scenario: str, provider: ScriptedProvider, directory: Path) -> list[dict[str, Any]]:
    run = subprocess.run(
        [sys.executable, str(PROGRAM), provider.base_url, scenario],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    assert "otel-tokenstream failed" not in run.stderr, run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    "scenario", ["litellm_sync", "litellm_sync_imported_before", "litellm_async", "litellm_async_imported_before"]
)
def test_a_stream_of_litellm_is_one_span(scenario: str, provider: ScriptedProvider, tmp_path: Path) -> None:
    """Whether the program imports litellm before or after, its stream has one span that tells of every chunk."""
    (span,) = spans_of(scenario, provider, tmp_path)
    assert (span["name"], span["outcome"]) == ("chat human", "completed")
    assert span["told"] == span["chunks"] > 8


def test_a_program_of_dspy_has_its_modules_and_fields(provider: ScriptedProvider, tmp_path: Path) -> None:
    """The modules are parents of the call, and its tokens belong to output fields."""
    call, predict, program = spans_of("dspy_streamed", provider, tmp_path)
    assert [(span["name"], span["parent"]) for span in (call, predict, program)] == [
        ("chat human", "Predict"),
        ("Predict", "ChainOfThought"),
        ("ChainOfThought", None),
    ]
    assert call["outcome"] == "completed"
    assert call["fields"] == ["answer", "reasoning"]
    assert call["told"] == call["chunks"]


def test_plain_calls_of_dspy_are_streamed_underneath(provider: ScriptedProvider, tmp_path: Path) -> None:
    """The program gets what it gets without, and the calls are told token by token."""
    provider.scripts["human"] = Script(gap=0.0005)
    calls = [span for span in spans_of("dspy_asked_as_stream", provider, tmp_path) if span["name"] == "chat human"]
    assert [(call["fields"], bool(call["chunks"])) for call in calls] == [
        ([], False),
        (["answer"], True),
        (["answer"], True),
    ]


def test_a_stream_that_breaks_off_is_retried_as_a_plain_call_is(provider: ScriptedProvider, tmp_path: Path) -> None:
    """By DSPy since 3.4, by litellm before: one failed call, then one that gives the answer."""
    for model in ("sync", "async"):
        provider.scripts[model] = [Script(ending="cut", ends_after=9, gap=0.0005), Script(gap=0.0005)]
    calls = [span for span in spans_of("dspy_broken_off", provider, tmp_path) if span["name"].startswith("chat")]
    assert [call["name"] for call in calls] == ["chat sync", "chat sync", "chat async", "chat async"]
    assert [call["outcome"] for call in calls[1::2]] == ["completed", "completed"]
    bodies = [exchange.body for exchange in provider.log.exchanges()]
    assert bodies[0::2] == bodies[1::2]


def test_tools_and_retrievers_of_dspy_have_spans(provider: ScriptedProvider, tmp_path: Path) -> None:
    """And Evaluate shows its model calls only."""
    names = [span["name"] for span in spans_of("dspy_steps", provider, tmp_path)]
    assert names == ["chat human", "retrieval", "execute_tool look_up"]
