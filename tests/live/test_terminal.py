from __future__ import annotations

import io
import os
import pty
import re
import unicodedata
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import Terminal, attach, correlate, step
from otel_tokenstream.demo.provider import Script, tool_call
from otel_tokenstream.live.events import EndEvent, StallEvent, StartEvent, TokenEvent
from otel_tokenstream.live.terminal import escaped
from otel_tokenstream.testing import capture
from tests.live.live_calls import QUESTION, arguments, program, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider

ABOUT: dict[str, Any] = {
    "trace_id": "",
    "parent_id": "",
    "at_ns": 1_700_000_000_000_000_000,
    "operation": "chat",
    "model": "m",
    "provider": "p",
    "correlation": {},
}
NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eltr\u2066\r\x08\x00\u200b\ufeff\U000e0041\u2028end"


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    with capture():
        yield


def token(stream: str, text: str | None, index: int, field: str | None = "answer") -> TokenEvent:
    return TokenEvent(
        **{**ABOUT, "stream_id": stream},
        text=text,
        field=field,
        index=index,
        kind="text",
        chars=3,
        chunk=index,
        offset_us=1_000 * index,
        gap_us=1_000,
        wait_us=900,
        finish_reason=None,
    )


def ended(stream: str) -> EndEvent:
    return EndEvent(
        **{**ABOUT, "stream_id": stream},
        outcome="completed",
        error_type=None,
        finish_reason="stop",
        chunks=3,
        input_tokens=5,
        output_tokens=12,
        reasoning_tokens=None,
        duration_us=2_500_000,
        first_token_us=320_000,
        dropped=2,
    )


def without_times(written: str) -> list[str]:
    """Lines without time, each stream's id and measured durations replaced."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in written.splitlines()]
    return [re.sub(r"\d+\.\d\d s", "T", re.sub(r"(?<=^. )[0-9a-f]{6}", "ID", line)) for line in lines]


def test_a_program_is_a_line_for_each_field(provider: ScriptedProvider) -> None:
    """Start, each field with its whole text, end with what was measured; steps around it."""
    written = io.StringIO()
    with attach(Terminal(written), text=True), correlate(user_id="u-4"), step("retrieval", k=3) as span:
        span.add_event("found", {"passages": 2})
        *_, prediction = program(provider)(question=QUESTION)

    lines = without_times(written.getvalue())
    assert lines[0] == "▷ ID retrieval k=3 user_id=u-4"
    assert lines[1] == "· ID found passages=2"
    assert lines[2] == "▶ ID chat program (openai), stream user_id=u-4"
    assert [line for line in lines if line.startswith("•")] == [
        f"• ID reasoning: {prediction.reasoning}",
        f"• ID answer: {prediction.answer}",
    ]
    assert re.fullmatch(
        r"■ ID chat program completed in T, opened after T, first token after T, \d+ tokens, \d+ chunks, stop",
        lines[-2],
    )
    assert lines[-1] == "◁ ID retrieval in T"


def test_a_line_an_event(provider: ScriptedProvider) -> None:
    """The other style: time, id, field, index, text and gap of each."""
    written = io.StringIO()
    with attach(Terminal(written, style="events"), text=True):
        streamed(provider)

    tokens = [line for line in without_times(written.getvalue()) if line.startswith("•")]
    assert [re.sub(r"\+\d+ ms", "+N ms", line) for line in tokens[:2]] == [
        '• ID text 0: "a" +N ms',
        '• ID text 1: "b" +N ms',
    ]


def test_without_text_there_are_counts(provider: ScriptedProvider) -> None:
    """How much came is shown, what came is not."""
    written = io.StringIO()
    with attach(Terminal(written)):
        streamed(provider, Script(pieces=["what ", "was ", "said"], gap=0))

    assert "• ID text: 13 characters in 3 chunks" in without_times(written.getvalue())
    assert "said" not in written.getvalue()


def test_two_streams_at_once_stay_readable() -> None:
    """One has the line; the other's text waits and comes in whole lines of its own, all of it."""
    written = io.StringIO()
    terminal = Terminal(written)
    for index in range(60):
        terminal.handle(token("a" * 16, f"a{index} ", index))
        terminal.handle(token("b" * 16, f"b{index} ", index))
    terminal.handle(ended("b" * 16))
    terminal.handle(token("a" * 16, "a60", 60))
    terminal.handle(ended("a" * 16))

    said = dict.fromkeys("ab", "")
    lines = written.getvalue().splitlines()
    for line in lines:
        found = re.fullmatch(r"\S+ • ([ab])\1{5} answer: (.*)", line)
        if found:
            said[found[1]] += found[2]
            assert {word[0] for word in found[2].split()} == {found[1]}
    assert said["a"].split() == [f"a{index}" for index in range(61)]
    assert said["b"].split() == [f"b{index}" for index in range(60)]
    assert len(lines) < 20


def test_lines_of_two_streams_break_between_words() -> None:
    """Tokens are parts of words; a stream gives the line away after a whole one."""
    written = io.StringIO()
    terminal = Terminal(written)
    for index in range(90):
        for letter in "ab":
            for part in (letter * 3, letter * 4, letter * 2 + " "):
                terminal.handle(token(letter * 16, part, index))
    for letter in "ab":
        terminal.handle(ended(letter * 16))

    words = [
        word
        for line in written.getvalue().splitlines()
        if (found := re.fullmatch(r"\S+ • [ab]{6} answer: (.*)", line))
        for word in found[1].split()
    ]
    assert sorted(words) == ["a" * 9] * 90 + ["b" * 9] * 90


def test_a_stream_without_words_does_not_keep_the_line() -> None:
    """Base64 has no end of a word; the other stream's text must not wait for one."""
    written = io.StringIO()
    terminal = Terminal(written)
    terminal.handle(token("a" * 16, "x" * 40, 0))
    for index in range(40):
        terminal.handle(token("b" * 16, "words ", index))

    assert "words words" in written.getvalue()


@pytest.mark.parametrize(("style", "first"), [("fields", '{"a":'), ("events", '"{"a":"')])
def test_tool_calls_have_lines_of_their_own(provider: ScriptedProvider, style: Any, first: str) -> None:
    """Also where their pieces come by turns."""
    pieces = [
        tool_call('{"a":', name="read", call_id="call_1"),
        tool_call('{"b":', name="write", call_id="call_2", index=1),
        tool_call("1}"),
        tool_call("2}", index=1),
    ]
    written = io.StringIO()
    with attach(Terminal(written, style=style), text=True):
        streamed(provider, Script(pieces=pieces, gap=0))

    said = [line.removeprefix("• ID ") for line in without_times(written.getvalue()) if "tool_call#" in line]
    assert [line[: len("tool_call#0")] for line in said] == [f"tool_call#{call}" for call in (0, 1, 0, 1)]
    assert first in said[0]


def test_control_sequences_of_a_model_do_not_reach_the_terminal(provider: ScriptedProvider) -> None:
    """Escapes, C1 controls, overrides of direction, carriage returns: all are shown, none is obeyed."""
    for style in ("fields", "events"):
        written = io.StringIO()
        with attach(Terminal(written, style=style), text=True), correlate(user_id=NASTY):  # type: ignore[arg-type]
            with step(NASTY, note=NASTY) as span:
                span.add_event(NASTY)
            list(litellm.completion(**arguments(provider, Script(pieces=list(NASTY), gap=0))))

        text = written.getvalue()
        assert "\\x1b" in text
        assert "\\u202e" in text
        controls = {character for character in text if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl")}
        assert controls == {"\n"}


def test_escapes_leave_ordinary_text_alone() -> None:
    """Letters of any script, emoji, and spaces are what they were; a newline is shown."""
    assert escaped("Grüße, 你好, שלום, नमस्ते 👍\u00a0ok") == "Grüße, 你好, שלום, नमस्ते 👍\u00a0ok"
    assert escaped("a\nb\tc\x85") == "a\\nb\\tc\\x85"
    assert escaped("\ud83d") == "\\ud83d"


def test_a_stall_and_losses_are_told() -> None:
    """Somebody who watches sees that it is the provider who is silent, and what is not shown."""
    written = io.StringIO()
    terminal = Terminal(written)
    terminal.handle(StartEvent(**{**ABOUT, "stream_id": "a" * 16}, stream=True))
    terminal.handle(StallEvent(**{**ABOUT, "stream_id": "a" * 16}, wait_us=5_200_000, phase="tokens"))
    terminal.handle(ended("a" * 16))

    assert [line.partition(" ")[2] for line in written.getvalue().splitlines()] == [
        "▶ aaaaaa chat m (p), stream",
        "▲ aaaaaa no token for 5.20 s",
        "■ aaaaaa chat m completed in 2.50 s, first token after 0.32 s, 12 tokens, 3 chunks, stop, 2 not shown",
    ]


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    """A terminal gets colours unless the user or the terminal says no; a file never does."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    file = io.StringIO()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        for terminal in (Terminal(stream), Terminal(file)):
            terminal.handle(StartEvent(**{**ABOUT, "stream_id": "a" * 16}, stream=True))
        shown = os.read(ours, 10_000).decode()
    os.close(ours)

    assert ("\x1b[" in shown) is coloured
    assert "\x1b[" not in file.getvalue()
    assert re.sub("\x1b\\[\\d+m", "", shown).strip() == file.getvalue().strip()


def test_a_terminal_of_another_encoding_is_written_to() -> None:
    """What it cannot show is escaped instead of raised."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        terminal = Terminal(stream)
        terminal.handle(token("a" * 16, "Grüße", 0))
        terminal.close()
        assert raw.getvalue().endswith(b"\\u2022 aaaaaa answer: Gr\\xfc\\xdfe\n")


def test_an_unknown_style_is_refused() -> None:
    """With what is allowed."""
    with pytest.raises(ValueError, match="'fields' or 'events', not 'lines'"):
        Terminal(style="lines")  # type: ignore[arg-type]
