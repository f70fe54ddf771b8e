"""The examples: those that --check types into, interrupts or asks as CI starts them, the others in this process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import dspy
import httpx
import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from otel_tokenstream.demo.provider.prose import passage_for
from otel_tokenstream.demo.provider.script import tool_call
from tests.examples.example_programs import RUN, answering, command, environment, exported, play, run
from tests.processes.received import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.testing import Capture

LIGHTHOUSE = "A lighthouse is less a lamp than a lens."
SCRIPTS: dict[str, Script | list[Script]] = {
    "session": [
        Script(pieces=["one ", "two"]),
        Script(pieces=["three ", "four "] * 9, ending="cut", ends_after=2),
        Script(pieces=["five ", "six ", "seven"]),
    ],
    "continue": [Script(gap=0.001, ends_after=40, ending="hang"), Script(gap=0.001)],
}


@dataclass(frozen=True)
class Checked:
    """What an example printed when it was run with --check, what it exported and the requests it sent."""

    output: str
    spans: list[dict[str, Any]]
    requests: list[dict[str, Any]]

    def said(self, request: int) -> list[str]:
        return [message["content"] for message in self.requests[request]["messages"]]


@cache
def checked(name: str) -> Checked:
    """Run an example as CI does; chat asks whom it asks in a clone without any key."""
    with ScriptedProvider() as provider, Receiver() as receiver:
        provider.scripts["test"] = SCRIPTS.get(name, answering({"": f"{LIGHTHOUSE} " * 8}, gap=0.005))
        start = [*RUN, name] if name == "chat" else command(provider, name)
        done = run([*start, "--check"], **exported(receiver))
        requests = [json.loads(exchange.body) for exchange in provider.log.exchanges()]
        return Checked(done.stdout, receiver.spans, requests)


@pytest.fixture
def played(
    provider: ScriptedProvider,
    tokenstream: Capture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., tuple[str, str]]]:
    """Runs an example in this process, instrumented, and returns what it prints, and what as errors."""
    del tokenstream
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    # DSPy lets no other task configure it after the one that did so first.
    monkeypatch.setattr(sys.modules["dspy.dsp.utils.settings"], "config_owner_async_task", None)

    def output(name: str, **variables: str) -> tuple[str, str]:
        play(provider, monkeypatch, name, **variables)
        return capsys.readouterr()

    yield output
    dspy.configure(lm=None)


def test_models_at_once_have_each_its_own_figures(
    provider: ScriptedProvider, played: Callable[..., tuple[str, str]]
) -> None:
    """Six calls run at the same time, and no number of one stands in the row of another."""
    lengths = {"openai/short": 7, "openai/middle": 20, "openai/long": 45}
    for model, length in lengths.items():
        provider.scripts[model.removeprefix("openai/")] = Script(pieces=["word "] * length, first_piece=1.5, gap=0.01)
    output, _ = played("models.py", DEMO_MODELS=",".join(lengths))
    rows = [line.split() for line in output.splitlines() if line.startswith("openai/")]
    assert {row[0]: int(row[6]) for row in rows} == lengths
    chunks = {row[0]: int(row[5]) - int(row[6]) for row in rows}
    assert len(set(chunks.values())) == 1, "beside the words, each stream has the same chunks"
    _, first, second, *_ = provider.log.settled(7)  # before these one warms up
    assert second.received_ns < (first.ended_ns or 0)


def test_models_side_by_side_have_each_its_column(
    provider: ScriptedProvider, played: Callable[..., tuple[str, str]]
) -> None:
    scripts = {"openai/short": ["one "], "openai/middle": ["two ", "three "], "openai/long": ["four "] * 3}
    for model, pieces in scripts.items():
        provider.scripts[model.removeprefix("openai/")] = Script(pieces=pieces, gap=0.01)
    output, _ = played("side_by_side.py", DEMO_MODELS=",".join(scripts), COLUMNS="200")
    (heads,) = [line.split("┃")[1:-1] for line in output.splitlines() if line.startswith("┃")]
    (words,) = [line.split("│")[1:-1] for line in output.splitlines() if line.startswith("│ one")]
    assert [head.strip() for head in heads] == list(scripts)
    assert [said.strip() for said in words] == ["one", "two three", "four four four"]
    assert output.count("completed, first token after") == output.count("completed,") == 3


@pytest.mark.usefixtures("played")
async def test_the_agent_looks_a_term_up(
    provider: ScriptedProvider, tokenstream: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page has the words of the last call; both calls are in one trace, below the agent."""
    asked = tool_call('{"term": "stall"}', name="look_up", call_id="call_1")
    provider.scripts["test"] = [Script(pieces=[asked]), Script(pieces=["A ", "blocked ", "read."])]
    agent = play(provider, monkeypatch, "agent/app.py", "librarian")
    app = httpx.ASGITransport(agent["serving"](agent["answer"]))
    async with httpx.AsyncClient(transport=app, base_url="http://127.0.0.1") as page:
        question = {"conversation_id": "check", "question": "What is a stall?"}
        answer = await page.post("/answer", json=question)
    *tokens, whole = (json.loads(line) for line in answer.text.splitlines())
    assert "".join(token["token"] for token in tokens) == whole["complete"] == "A blocked read."
    (trace,) = {generation.span.context.trace_id for generation in tokenstream.generations}
    assert len(tokenstream.generations) == 2
    above = {span.name for span in tokenstream.spans if span.context.trace_id == trace}
    assert {"invoke_agent librarian", "execute_tool look_up"} <= above
    messages = json.loads(provider.log.settled(2)[1].body)["messages"]
    assert "blocked for two seconds" in messages[-1]["content"]


def test_progress_tells_chunks_tokens_and_times(
    provider: ScriptedProvider, played: Callable[..., tuple[str, str]]
) -> None:
    """The line has what the provider reported, and the program's output is untouched by it."""
    provider.scripts["test"] = Script(pieces=["ab ", "cd ", "ef "], first_piece=0.1, gap=0.02)
    output, errors = played("progress.py")
    assert output == "ab cd ef \n"
    told = re.search(r"completed: (\d+) chunks, 3 tokens, \d+ tokens/s, first token after ([\d.]+) s", errors)
    assert told is not None, errors
    assert int(told[1]) >= 3
    assert float(told[2]) >= 0.1


def test_session_remembers_and_has_figures_for_each_turn() -> None:
    """Each request carries the answers before it; all spans carry the conversation, by one id."""
    session = checked("session")
    assert re.findall(r"turn (\d): completed.*?(\d+) out\]", session.output) == [("1", "2"), ("3", "3")]
    assert "3 turns, " in session.output
    first, _, second, *_ = session.said(-1)
    assert (first, second) == ("Why is the sky blue?", "Why do bridges have gaps?")
    assert session.said(1) == [first, "one two", second]
    assert len({span["attributes"][signals.CONVERSATION_ID] for span in session.spans}) == 1
    assert len(session.spans) == 3


def test_session_keeps_the_text_before_an_error() -> None:
    """A turn that breaks off says so, with its chunks, and its words go on with the conversation."""
    session = checked("session")
    assert re.search(r"three four  … \w+Error\n  \[turn 2: failed, \d+ chunks, ", session.output), session.output
    assert session.said(-1)[1::2] == ["one two", "three four "]


def test_interrupted_answer_is_kept_and_its_continuation_linked() -> None:
    """Ctrl-C in mid-stream: the words so far go back to the model, which goes on after their last letter.

    Its next span leads to the interrupted one.
    """
    done = checked("continue")
    before, kept, after = re.split(r"\n\n\[(\d+) characters kept.*?\] ", done.output.partition("answer.\n\n")[2])
    whole = passage_for("How does a lighthouse work?").answer
    assert whole.startswith(LIGHTHOUSE)
    assert whole.startswith(before)  # Ctrl-C may come between a piece's arrival and its print
    assert whole[: int(kept)] + after.rstrip() == whole
    assert after.rstrip().endswith("which lighthouse he was looking at.")
    assert done.requests[1]["messages"][1] == {"role": "assistant", "content": whole[: int(kept)]}
    first, second = done.spans
    # Where it hit the program between two reads, the stream was dropped.
    assert first["attributes"][signals.OUTCOME] in ("cancelled", "abandoned")
    assert second["attributes"][signals.OUTCOME] == "completed"
    assert (first["links"], second["links"]) == ([], [first["id"]])


def test_buffered_output_comes_in_portions_and_its_rest_at_the_end(
    provider: ScriptedProvider, played: Callable[..., tuple[str, str]]
) -> None:
    """Every portion but the last has ten tokens, and together they are the program's answer."""
    sky = " ".join(f"word{number:02}" for number in range(25))
    text = f"[[ ## reasoning ## ]]\nThink.\n\n[[ ## answer ## ]]\n{sky}\n\n[[ ## completed ## ]]\n"
    provider.scripts["test"] = Script(pieces=re.findall(r"\s*\S+", text), gap=0.001)
    output, _ = played("buffered.py")
    portions = re.findall(r"^ +\d+ \| (.*)$", output, re.MULTILINE)
    assert " ".join(portions).split() == sky.split()
    assert [len(portion.split()) for portion in portions[:2]] == [10, 10]
    assert f"{len(portions)} portions, together the answer: True" in output


# The others have run to their end above, each of them in this process; as here they run in CI.
@pytest.mark.parametrize(
    "name",
    [
        "session",
        "continue",
        "chat",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("models", "progress", "buffered", "agent", "side_by_side")
        ),
    ],
)
def test_every_example_ends_by_itself_when_checked(name: str) -> None:
    """What CI runs for each example needs no hand, and is not hung up by one of them."""
    done = checked(name)
    assert done.output.startswith("asking ")
    if name != "chat":
        assert "asking openai/test" in done.output
        assert done.requests


def test_examples_ask_the_scripted_provider_unless_told_otherwise() -> None:
    """A clone without any key can run them."""
    output = checked("chat").output
    assert output.startswith("asking a scripted provider at http://127.0.0.1:")
    assert passage_for("Why is the sky blue?").answer in output
    assert len(checked("chat").spans) == 1
    assert checked("chat").requests == []


def test_unknown_example_is_answered_with_those_there_are() -> None:
    """A slip in NAME= costs no search."""
    done = subprocess.run([*RUN, "chatt"], env=environment(), capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 2
    assert "chat" in done.stderr
    assert "buffered" in done.stderr
