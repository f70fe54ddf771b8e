from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_tokenstream.core.call.chunk_kinds import TEXT, TOOL_CALL
from otel_tokenstream.core.content.redaction import FAILED, Redactor, StreamingRedactor, redacted, redaction_buffer_size
from otel_tokenstream.core.runtime.guard import faults

EMAIL = re.compile(r"[\w.]+@\w[\w.]*")
SECRET = "alice@example.com"


def mask(text: str) -> str:
    return EMAIL.sub("[email]", text)


def passed(gate: StreamingRedactor, pieces: list[str], *, torn: bool = False) -> list[str]:
    """What leaves with each piece, and at the end."""
    return [*(gate.feed(piece) for piece in pieces), gate.close(torn=torn)]


@pytest.mark.parametrize("hook", [mask, Redactor(mask), Redactor(mask, longest=20)])
def test_an_address_sent_one_character_a_chunk_never_leaves(hook: object) -> None:
    """No piece that leaves holds any part of the address, and together they are the redacted text."""
    text = f"Write to {SECRET}, or do not write at all: nobody is there to read it."

    left = passed(StreamingRedactor(hook, TEXT), list(text))

    assert "".join(left) == mask(text)
    assert not any(part in each for each in left for part in ("ali", "@", "exa", ".com"))


def test_text_before_the_end_leaves_only_with_a_declared_longest_match() -> None:
    """A plain function may look as far as it likes, so that everything waits for the end of the field."""
    pieces = ["no secret here "] * 20

    assert passed(StreamingRedactor(mask, TEXT), pieces)[:-1] == [""] * 20
    early = "".join(passed(StreamingRedactor(Redactor(mask, longest=32), TEXT), pieces)[:-1])
    assert len(early) >= 20 * 15 - 32 - 1


@st.composite
def split_texts(draw: st.DrawFn) -> list[str]:
    words = draw(st.lists(st.one_of(st.text("abc d.é😀", max_size=9), st.sampled_from([SECRET, "b.c@d.ef", "@", " "]))))
    text = " ".join(words)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)))))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(split_texts(), st.sampled_from([mask, Redactor(mask, longest=40), Redactor(mask, longest=64)]))
@example(["a " * 40 + "ali", "ce@example.com", " b" * 40], Redactor(mask, longest=40))
def test_how_a_text_was_split_makes_no_difference(pieces: list[str], hook: object) -> None:
    """What leaves is what the hook makes of the whole."""
    assert "".join(passed(StreamingRedactor(hook, TEXT), pieces)) == mask("".join(pieces))


NUMBERS = re.compile(r"\d{4,8}")


@given(st.lists(st.text("12a ", min_size=1, max_size=6), max_size=12))
@example(["a 2345345", "1345345", "1b "])
@example(["1111", "1111", "1111", "11", "a"])
@example(["1", "1", "111", "111", "111", "1"])
@pytest.mark.parametrize("replacement", ["N", "", lambda found: "*" * len(found[0])])
def test_matches_that_touch_are_cut_like_the_whole(replacement: Any, pieces: list[str]) -> None:
    """A cut between two matches would let what follows be matched anew, and the rest of the last one leave."""

    def without_numbers(text: str) -> str:
        return NUMBERS.sub(replacement, text)

    left = "".join(passed(StreamingRedactor(Redactor(without_numbers, longest=8), TEXT), pieces))
    assert left == without_numbers("".join(pieces))


@given(st.lists(st.text("x1 -", min_size=1, max_size=5), max_size=12))
@pytest.mark.parametrize(("pattern", "longest"), [(r"\b\d{3}\b", 5), (r"(?<=x)1+(?=-)", 12), (r"x(?=1)", 2)])
def test_lookaround_of_a_pattern_counts_as_part_of_the_match(pattern: str, longest: int, pieces: list[str]) -> None:
    """With its surroundings in the declared length, a pattern finds the same in pieces as in the whole."""
    text = re.sub(r"1{11,}", "1", "".join(pieces))
    looking = re.compile(pattern)
    pieces = [text[at : at + 3] for at in range(0, len(text), 3)]

    left = "".join(passed(StreamingRedactor(Redactor(lambda said: looking.sub("#", said), longest), TEXT), pieces))
    assert left == looking.sub("#", text)


@given(split_texts(), st.integers(0, 200))
def test_only_text_out_of_reach_of_a_match_is_released_before_the_end(pieces: list[str], end: int) -> None:
    """A text that is cut in a secret leaves no part of it, though its kept part shows no match."""
    whole = "".join(pieces)
    left = "".join(passed(StreamingRedactor(Redactor(mask, longest=40), TEXT), [whole[:end]], torn=True))
    assert mask(whole).startswith(left)


def test_nothing_of_a_cut_text_leaves_where_the_longest_match_is_not_known() -> None:
    """A plain function might have found one that began in what was kept."""
    assert passed(StreamingRedactor(mask, TEXT), ["BEGIN KEY abc"], torn=True) == ["", ""]


def failing(text: str) -> str:
    if "@" in text:
        raise ValueError(text)
    return text


@pytest.mark.parametrize("hook", [failing, Redactor(failing, longest=4)])
def test_a_hook_that_raises_lets_nothing_through(hook: object, caplog: pytest.LogCaptureFixture) -> None:
    """The text is left out, the fault counted, and the text is not in the log of the fault either."""
    before = faults["ValueError"]
    left = "".join(passed(StreamingRedactor(hook, TEXT), ["well ", "then ", SECRET, " and ", "more"]))
    assert left.endswith(FAILED)
    assert "@" not in left
    assert "more" not in left
    assert redacted(failing, f"mail {SECRET}") == FAILED
    assert faults["ValueError"] > before
    assert SECRET not in caplog.text


def test_a_hook_that_returns_no_text_lets_nothing_through() -> None:
    """A hook that forgets to return is a fault, not an empty text."""
    before = faults["TypeError"]
    assert redacted(lambda _: None, "text") == FAILED
    assert faults["TypeError"] == before + 1


def test_arguments_of_tools_are_shown_to_the_hook_without_json_escapes() -> None:
    r"""A model may write any character as \uXXXX, which would hide it from a pattern."""
    pieces = list('{"to": "alice\\u0040example.com"}')
    for hook in (mask, Redactor(mask, longest=24)):
        left = passed(StreamingRedactor(hook, TOOL_CALL), pieces)
        assert "".join(left) == '{"to": "[email]"}'
        assert left[:-1] == [""] * len(pieces)


def test_halves_of_a_character_in_two_chunks_are_joined() -> None:
    """Providers split a surrogate pair; its halves alone cannot be sent."""
    for hook in (None, mask, Redactor(mask, longest=2)):
        left = passed(StreamingRedactor(hook, TEXT), ["a", "\ud83d", "\ude00b", "c\ud83d", "x", "\ud83d"])
        assert "".join(left) == "a😀bc\ufffdx\ufffd"
        for each in left:
            each.encode()


def test_a_redactor_needs_a_function_and_a_length() -> None:
    """A length of 0 would withhold nothing."""
    for function, longest in (("mask", 64), (mask, 0)):
        with pytest.raises(ValueError, match="characters of its longest match"):
            Redactor(function, longest)  # type: ignore[arg-type]


def test_more_is_kept_where_a_hook_must_see_more() -> None:
    """Without a hook, what may leave is what is kept."""
    assert redaction_buffer_size(None, 100) == 100
    assert redaction_buffer_size(Redactor(mask, longest=10), 100) >= 110
    assert redaction_buffer_size(mask, 100) > 110
