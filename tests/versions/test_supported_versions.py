"""What must hold with every supported version: ``make test-oldest`` runs these with the oldest ones."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm import acompletion, completion

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

PROGRAM = Path(__file__).with_name("streams.py")
QUICK = Script(gap=0.0005)


class Streams:
    """What the program printed, which imports litellm and DSPy after they are instrumented."""

    def __init__(self, provider: ScriptedProvider, directory: Path) -> None:
        run = subprocess.run(
            [sys.executable, str(PROGRAM), provider.base_url],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": str(directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
        self.said = run.stderr
        lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"scenario"')]
        self.scenarios = {line["scenario"]: line for line in lines}
        self.bodies = [exchange.body for exchange in provider.log.exchanges()]

    def spans_of(self, scenario: str) -> list[dict[str, Any]]:
        assert "otel-tokenstream failed" not in self.said, self.said
        assert self.scenarios[scenario]["error"] is None, self.scenarios[scenario]["error"]
        return self.scenarios[scenario]["spans"]


@pytest.fixture(scope="module")
def streams(running_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory) -> Streams:
    running_provider.reset()
    running_provider.scripts["human"] = QUICK
    for model in ("sync", "async"):
        running_provider.scripts[model] = [Script(ending="cut", ends_after=9, gap=0.0005), QUICK]
    return Streams(running_provider, tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("scenario", ["litellm_sync", "litellm_async"])
def test_a_stream_of_litellm_is_one_span(scenario: str, streams: Streams) -> None:
    """Where the program imports litellm after it was instrumented: one span that tells of every chunk."""
    (span,) = streams.spans_of(scenario)
    assert (span["name"], span["outcome"]) == ("chat human", "completed")
    assert span["told"] == span["chunks"] > 8


async def read(chunks: Any) -> None:
    async for _ in await chunks:
        pass


@pytest.mark.parametrize(
    "ask",
    [
        lambda request: list(completion(**request)),
        lambda request: list(litellm.completion(**request)),
        lambda request: asyncio.run(read(acompletion(**request))),
        lambda request: asyncio.run(read(litellm.acompletion(**request))),
    ],
    ids=["completion", "litellm.completion", "acompletion", "litellm.acompletion"],
)
def test_a_stream_of_litellm_imported_before_is_one_span(
    request: pytest.FixtureRequest, ask: Any, provider: ScriptedProvider
) -> None:
    """The program's own names of litellm's functions are of before it was instrumented."""
    provider.scripts["human"] = QUICK
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    # Old versions of litellm keep a client by its key, for the first event loop it sees.
    where = {"api_base": provider.base_url, "api_key": request.node.name}
    with capture() as captured:
        ask({"model": "openai/human", "messages": messages, "max_tokens": 8, "stream": True, **where})

    (generation,) = captured.generations
    assert (generation.name, generation.outcome) == ("chat human", "completed")
    told = sum(event.attributes.get(signals.AT_COUNT, 1) for event in generation.tokens)
    assert told == generation.attributes[signals.CHUNKS] > 8


def test_a_program_of_dspy_has_its_modules_and_fields(streams: Streams) -> None:
    """The modules are parents of the call, and its tokens belong to output fields."""
    call, predict, program = streams.spans_of("dspy_streamed")
    assert [(span["name"], span["parent"]) for span in (call, predict, program)] == [
        ("chat human", "Predict"),
        ("Predict", "ChainOfThought"),
        ("ChainOfThought", None),
    ]
    assert call["outcome"] == "completed"
    assert call["fields"] == ["answer", "reasoning"]
    assert call["told"] == call["chunks"]


def test_plain_calls_of_dspy_are_streamed_underneath(streams: Streams) -> None:
    """The program gets what it gets without, and the calls are told token by token."""
    calls = [span for span in streams.spans_of("dspy_asked_as_stream") if span["name"] == "chat human"]
    assert [(call["fields"], bool(call["chunks"])) for call in calls] == [
        ([], False),
        (["answer"], True),
        (["answer"], True),
    ]


def test_a_stream_that_breaks_off_is_retried_as_a_plain_call_is(streams: Streams) -> None:
    """By DSPy since 3.4, by litellm before: one failed call, then one that gives the answer."""
    calls = [span for span in streams.spans_of("dspy_broken_off") if span["name"].startswith("chat")]
    assert [call["name"] for call in calls] == ["chat sync", "chat sync", "chat async", "chat async"]
    assert [call["outcome"] for call in calls[1::2]] == ["completed", "completed"]
    bodies = [body for body in streams.bodies if json.loads(body)["model"] in ("sync", "async")]
    assert len(bodies) == 4
    assert bodies[0::2] == bodies[1::2]


def test_tools_and_retrievers_of_dspy_have_spans(streams: Streams) -> None:
    """And Evaluate shows its model calls only."""
    names = [span["name"] for span in streams.spans_of("dspy_steps")]
    assert names == ["chat human", "retrieval", "execute_tool look_up"]
