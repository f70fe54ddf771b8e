from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.prose import passage_for
from otel_tokenstream.demo.provider.script import tool_call
from tests.examples.example_programs import RUN, answering, command, environment, run
from tests.processes.received import Receiver

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

LIGHTHOUSE = "A lighthouse is less a lamp than a lens."


def exported(receiver: Receiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


def test_models_at_once_have_each_its_own_figures(provider: ScriptedProvider) -> None:
    """Six calls run at the same time, and no number of one stands in the row of another."""
    lengths = {"openai/short": 7, "openai/middle": 20, "openai/long": 45}
    for model, length in lengths.items():
        provider.scripts[model.removeprefix("openai/")] = Script(pieces=["word "] * length, first_piece=4.0, gap=0.01)
    output = run(command(provider, "models", "openai/short"), DEMO_MODELS=",".join(lengths)).stdout
    rows = [line.split() for line in output.splitlines() if line.startswith("openai/")]
    assert {row[0]: int(row[6]) for row in rows} == lengths
    chunks = {row[0]: int(row[5]) - int(row[6]) for row in rows}
    assert len(set(chunks.values())) == 1, "beside the words, each stream has the same chunks"
    _, first, second, *_ = provider.log.settled(7)  # before these one warms up
    assert second.received_ns < (first.ended_ns or 0)


def test_models_side_by_side_have_each_its_column(provider: ScriptedProvider) -> None:
    scripts = {"openai/short": ["one "], "openai/middle": ["two ", "three "], "openai/long": ["four "] * 3}
    for model, pieces in scripts.items():
        provider.scripts[model.removeprefix("openai/")] = Script(pieces=pieces, gap=0.01)
    output = run(command(provider, "side_by_side", "openai/short"), DEMO_MODELS=",".join(scripts), COLUMNS="200").stdout
    (heads,) = [line.split("┃")[1:-1] for line in output.splitlines() if line.startswith("┃")]
    (words,) = [line.split("│")[1:-1] for line in output.splitlines() if line.startswith("│ one")]
    assert [head.strip() for head in heads] == list(scripts)
    assert [said.strip() for said in words] == ["one", "two three", "four four four"]
    assert output.count("completed, first token after") == output.count("completed,") == 3


def test_the_agent_looks_a_term_up(provider: ScriptedProvider) -> None:
    """The page has the words of the last call; both calls are in one trace, below the agent."""
    asked = tool_call('{"term": "stall"}', name="look_up", call_id="call_1")
    provider.scripts["test"] = [Script(pieces=[asked]), Script(pieces=["A ", "blocked ", "read."])]
    with Receiver() as receiver:
        output = run([*command(provider, "agent"), "--check"], **exported(receiver)).stdout
        spans, told = receiver.spans, receiver._told("spans")
    assert output.endswith("A blocked read.\n")
    assert len(spans) == 2
    assert {"invoke_agent librarian", "execute_tool look_up"} <= {span["name"] for span in told}
    messages = json.loads(provider.log.settled(2)[1].body)["messages"]
    assert "blocked for two seconds" in messages[-1]["content"]


def test_progress_tells_chunks_tokens_and_times(provider: ScriptedProvider) -> None:
    """The line has what the provider reported, and the program's output is untouched by it."""
    provider.scripts["test"] = Script(pieces=["ab ", "cd ", "ef "], first_piece=0.1, gap=0.02)
    done = run(command(provider, "progress"))
    assert done.stdout.endswith("\nab cd ef \n")
    told = re.search(r"completed: (\d+) chunks, 3 tokens, \d+ tokens/s, first token after ([\d.]+) s", done.stderr)
    assert told is not None, done.stderr
    assert int(told[1]) >= 3
    assert float(told[2]) >= 0.1


def test_session_remembers_and_has_figures_for_each_turn(provider: ScriptedProvider) -> None:
    """The second request carries the first answer; both spans carry the conversation, by one id."""
    provider.scripts["test"] = [Script(pieces=["one ", "two"]), Script(pieces=["three ", "four ", "five"])]
    with Receiver() as receiver:
        output = run(command(provider, "session"), "First?\nSecond?\n\n", **exported(receiver)).stdout
        spans = receiver.spans
    assert re.findall(r"turn (\d): .*?(\d+) out\]", output) == [("1", "2"), ("2", "3")]
    assert "2 turns, " in output
    messages = json.loads(provider.log.settled(2)[1].body)["messages"]
    assert [message["content"] for message in messages] == ["First?", "one two", "Second?"]
    assert len({span["attributes"][signals.CONVERSATION_ID] for span in spans}) == 1
    assert len(spans) == 2


def test_session_keeps_the_text_before_an_error(provider: ScriptedProvider) -> None:
    """A turn that breaks off says so, with its chunks, and its words go on with the conversation."""
    provider.scripts["test"] = [Script(pieces=["one ", "two "] * 9, ending="cut", ends_after=2), Script(pieces=["ok"])]
    output = run(command(provider, "session"), "First?\nSecond?\n\n").stdout
    assert re.search(r"one two  … \w+Error\n  \[turn 1: failed, \d+ chunks, ", output), output
    messages = json.loads(provider.log.settled()[-1].body)["messages"]
    assert [message["content"] for message in messages] == ["First?", "one two ", "Second?"]


def test_interrupted_answer_is_kept_and_its_continuation_linked(provider: ScriptedProvider) -> None:
    """Ctrl-C in mid-stream: the words so far go back to the model, and its next span leads to the interrupted one."""
    provider.scripts["test"] = [
        Script(pieces=["A lighthouse ", "is less "], ending="hang"),
        Script(pieces=["a lamp ", "than a lens."]),
    ]
    with Receiver() as receiver:
        process = subprocess.Popen(
            command(provider, "continue"),
            env=environment(**exported(receiver)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        output = ""
        while not output.endswith("is less "):
            output += process.stdout.read(1)
        subprocess.run(["kill", "-INT", "--", f"-{process.pid}"], check=True)  # as the terminal does
        rest, _ = process.communicate("\n", timeout=180)
        first, second = receiver.spans
    assert process.returncode == 0
    assert rest.rstrip().endswith("a lamp than a lens.")
    # Where it hit the program between two reads, the stream was dropped.
    assert first["attributes"][signals.OUTCOME] in ("cancelled", "abandoned")
    assert second["attributes"][signals.OUTCOME] == "completed"
    assert (first["links"], second["links"]) == ([], [first["id"]])
    messages = json.loads(provider.log.settled(2)[1].body)["messages"]
    assert messages[1] == {"role": "assistant", "content": "A lighthouse is less "}


def test_buffered_output_comes_in_portions_and_its_rest_at_the_end(provider: ScriptedProvider) -> None:
    """Every portion but the last has ten tokens, and together they are the program's answer."""
    sky = " ".join(f"word{number:02}" for number in range(25))
    text = f"[[ ## reasoning ## ]]\nThink.\n\n[[ ## answer ## ]]\n{sky}\n\n[[ ## completed ## ]]\n"
    provider.scripts["test"] = Script(pieces=re.findall(r"\s*\S+", text), gap=0.001)
    output = run(command(provider, "buffered")).stdout
    portions = re.findall(r"^ +\d+ \| (.*)$", output, re.MULTILINE)
    assert " ".join(portions).split() == sky.split()
    assert [len(portion.split()) for portion in portions[:2]] == [10, 10]
    assert f"{len(portions)} portions, together the answer: True" in output


@pytest.mark.parametrize(
    "name", ["models", "progress", "session", "continue", "buffered", "chat", "agent", "side_by_side"]
)
def test_every_example_ends_by_itself_when_checked(name: str, provider: ScriptedProvider) -> None:
    """What CI runs for each example needs no hand, and is not hung up by one of them."""
    provider.scripts["test"] = answering({"": f"{LIGHTHOUSE} " * 8}, gap=0.005)
    output = run([*command(provider, name), "--check"]).stdout
    assert "asking openai/test" in output
    assert provider.log.settled()


def test_chat_ends_by_ctrl_c_in_silence(provider: ScriptedProvider) -> None:
    """Once the address stands there, Ctrl-C ends it at once, without a traceback."""
    process = subprocess.Popen(
        command(provider, "chat"),
        env=environment(PORT="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any(line.startswith("http://127.0.0.1:") for line in process.stdout)
    subprocess.run(["kill", "-INT", "--", f"-{process.pid}"], check=True)
    assert process.communicate(timeout=180) == ("", "")
    assert process.returncode == 0


def test_examples_ask_the_scripted_provider_unless_told_otherwise() -> None:
    """A clone without any key can run them; the interrupted answer goes on after its last letter."""
    output = run([*RUN, "continue", "--check"]).stdout
    before, kept, after = re.split(r"\n\n\[(\d+) characters kept.*?\] ", output.partition("answer.\n\n")[2])
    whole = passage_for("How does a lighthouse work?").answer
    assert whole.startswith("A lighthouse is less a lamp than a lens.")
    assert whole.startswith(before)  # Ctrl-C may come between a piece's arrival and its print
    assert whole[: int(kept)] + after.rstrip() == whole
    assert after.rstrip().endswith("which lighthouse he was looking at.")


def test_unknown_example_is_answered_with_those_there_are() -> None:
    """A slip in NAME= costs no search."""
    done = subprocess.run([*RUN, "chatt"], env=environment(), capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 2
    assert "chat" in done.stderr
    assert "buffered" in done.stderr
