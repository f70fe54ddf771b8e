from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import EMPTY, REASONING, TEXT, TOOL_CALL
from otel_tokenstream.core.call.model_call import (
    ABANDONED,
    CANCELLED,
    CLOSED,
    COMPLETED,
    FAILED,
    FIELDS_KEPT,
    ModelCall,
)
from otel_tokenstream.fields import parser_for

if TYPE_CHECKING:
    from tests.core.calls import Ends

MS = 1_000_000


class Feed:
    """Feeds a call a chunk each millisecond after its start, as a reader would."""

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        self.at = call.started

    def chunk(self, kind: str, text: str = "x", *, further: bool = False) -> None:
        self.at += 0 if further else MS
        self.call.chunk(0 if further else self.at, self.at, kind, len(text), None, None)

    def text(self, text: str) -> None:
        self.at += MS
        self.call.text(self.at, self.at, text)


def test_first_token_is_the_first_content_of_any_kind(ends: Ends) -> None:
    """A role or an empty chunk is no token, reasoning is one, and visible text is the first answer token."""
    call = ends.call()
    feed = Feed(call)
    for kind in (EMPTY, EMPTY, REASONING, REASONING, TEXT, TEXT):
        feed.chunk(kind)
    call.end(COMPLETED)

    assert call.first_token == (call.started + 3 * MS, MS, 2)
    assert call.first_answer_token == (call.started + 5 * MS, MS, 4)


def test_an_answer_of_tool_calls_has_no_answer_token(ends: Ends) -> None:
    """Tool arguments are tokens, but nothing a reader of the answer sees."""
    call = ends.call()
    Feed(call).chunk(TOOL_CALL)
    call.end(COMPLETED)

    assert call.first_token is not None
    assert call.first_answer_token is None


def test_a_call_without_content_has_no_milestones(ends: Ends) -> None:
    """What was not measured is absent, not zero."""
    call = ends.call()
    Feed(call).chunk(EMPTY)
    call.end(COMPLETED)

    assert call.first_token is None
    assert call.timeline.chunks == 1


def test_content_that_comes_second_in_a_chunk_has_the_chunks_place(ends: Ends) -> None:
    """Reasoning and the answer's first text in one chunk: both milestones are that chunk, with its index and gap."""
    call = ends.call()
    at = call.started
    call.chunk(at + 1, at + 10, EMPTY, 0, None, None)
    call.generated(at + 11, at + 50, REASONING, "hmm")
    call.text(0, at + 50, "Hi")
    call.end(COMPLETED)

    assert call.first_token == call.first_answer_token == (at + 50, 40, 1)


def test_chunks_after_the_end_are_ignored(ends: Ends) -> None:
    """A caller that reads on, as a library does whose next deployment goes on with the stream, fills nothing up."""
    call = ends.call()
    feed = Feed(call)
    feed.text("a")
    feed.text("b")
    run = call.plain_run()
    assert run is not None
    call.end(COMPLETED)
    for _ in range(1_000):
        run += (1, feed.at, 1)
        call.fold_run()

    assert not run
    assert (call.timeline.chunks, len(call.timeline.events)) == (2, 2)


@pytest.mark.parametrize("last", [False, True])
def test_very_many_rows_of_one_chunk_are_few_events(ends: Ends, last: bool) -> None:
    """A whole stream that the network handed over in one piece costs time in proportion, and one event a kind."""
    call = ends.call()
    feed = Feed(call)
    feed.chunk(TEXT)
    feed.chunk(TEXT)
    for _ in range(20_000):
        feed.chunk(TEXT, further=True)
    feed.chunk(REASONING, further=True)
    if not last:
        feed.chunk(TEXT)
    call.end(COMPLETED)

    assert call.timeline.chunks == 2 + (not last)
    assert [event.chars for event in call.timeline.events] == [1, 20_001, 1, *([] if last else [1])]


def test_rows_of_one_chunk_count_once(ends: Ends) -> None:
    """A chunk with parts for two choices is one chunk, also where rows are folded in blocks."""
    call = ends.call(budget=64)
    feed = Feed(call)
    for _ in range(25):
        feed.chunk(TEXT)
        feed.chunk(REASONING, further=True)
    call.end(COMPLETED)

    assert call.timeline.chunks == 25
    assert sum(event.count for event in call.timeline.events) == 25
    assert sum(event.chars for event in call.timeline.events) == 50


@pytest.mark.parametrize(
    ("outcome", "finished", "expected"),
    [
        (COMPLETED, False, COMPLETED),
        (CLOSED, False, CLOSED),
        (CANCELLED, False, CANCELLED),
        (ABANDONED, False, ABANDONED),
        (FAILED, False, FAILED),
        (CLOSED, True, COMPLETED),
        (CANCELLED, True, COMPLETED),
        (ABANDONED, True, COMPLETED),
        (FAILED, True, FAILED),
    ],
)
def test_leaving_after_the_finish_reason_is_completion(ends: Ends, outcome: str, finished: bool, expected: str) -> None:
    """Whoever leaves when the model has said that it is done missed nothing; a failure stays one."""
    call = ends.call()
    Feed(call).chunk(TEXT)
    if finished:
        call.finish_reasons[0] = "stop"
    call.end(outcome, ValueError("x") if outcome == FAILED else None)

    assert call.outcome == expected
    assert call.error_type == ("ValueError" if expected == FAILED else None)


@pytest.mark.parametrize(("finished", "expected"), [(1, ABANDONED), (2, COMPLETED)])
def test_of_several_choices_all_have_to_finish(ends: Ends, finished: int, expected: str) -> None:
    """A caller that leaves when one of two choices is done leaves early."""
    call = ends.call()
    call.request = replace(call.request, parameters={signals.REQUEST_CHOICE_COUNT: 2})
    call.finish_reasons.update(dict.fromkeys(range(finished), "stop"))
    call.end(ABANDONED)

    assert call.outcome == expected


def test_a_call_ends_once_and_nothing_changes_it_afterwards(ends: Ends) -> None:
    """A second end, and chunks after the end, are without effect and without memory."""
    call = ends.call()
    feed = Feed(call)
    feed.text("abc")
    call.end(COMPLETED)
    ended, chunks = call.ended, call.timeline.chunks
    call.end(FAILED, ValueError())
    for _ in range(100):
        feed.text("abc")

    assert ends.calls == [call]
    assert (call.outcome, call.ended, call.timeline.chunks) == (COMPLETED, ended, chunks)
    assert len(call._block) == 0


def test_the_last_read_after_the_finish_reason_is_no_stall(ends: Ends) -> None:
    """A library that takes its time to close after the model is done blames nobody; a silent model does."""
    outcomes = []
    for finished in (True, False):
        call = ends.call(stall_threshold=MS)
        feed = Feed(call)
        feed.chunk(TEXT)
        if finished:
            call.finish_reasons[0] = "stop"
        call.blocked(feed.at, feed.at + 50 * MS, finished=True)
        call.end(COMPLETED)
        outcomes.append((call.timeline.stall_count, call.timeline.wait_total))

    assert outcomes == [(0, 50 * MS), (1, 50 * MS)]


def test_text_is_attributed_to_fields_with_the_first_arrival_of_each(ends: Ends) -> None:
    """Markup belongs to no field, each field has its first arrival, and every chunk counts once."""
    call = ends.call(budget=64, text_limit=1_000)
    call.parser = parser_for("chat", ("thought", "answer"))
    feed = Feed(call)
    for piece in ("[[ ## thought", " ## ]]\n", "one ", "two", "\n\n[[ ## answer ## ]]\n", "three"):
        feed.text(piece)
    call.end(COMPLETED)

    joined: dict[str | None, str] = {}
    for event in call.timeline.events:
        joined[event.field] = joined.get(event.field, "") + "".join(passage.text for passage in event.passages or ())
    assert joined == {None: "", "thought": "one two", "answer": "three"}
    assert call.timeline.chunks == 6
    assert call.field_first["thought"] < call.field_first["answer"]


def test_text_that_is_not_decided_yet_keeps_its_neighbours_together(ends: Ends) -> None:
    """A newline may begin the next field's marker: a parser holds it back, and the text around it is one field's."""
    call = ends.call(budget=4)
    call.parser = parser_for("chat", ["answer"])
    call.text(call.started + 1, call.started + 2, "[[ ## answer ## ]]\n")
    for number in range(3, 200):
        call.text(call.started + number, call.started + number, "word" if number % 2 else "\n")
    call.end(COMPLETED)

    written = [event for event in call.timeline.events if event.chars]
    assert {event.field for event in written} == {"answer"}


def test_fields_of_a_call_are_bounded(ends: Ends) -> None:
    """However many fields a program invents, first arrivals are kept for a bounded number."""
    call = ends.call()
    for number in range(100):
        call.chunk(call.started, call.started, TEXT, 1, f"field{number}", None)
    call.end(COMPLETED)

    assert len(call.field_first) == FIELDS_KEPT


def test_a_parser_that_fails_costs_the_fields_and_not_the_chunks(ends: Ends) -> None:
    """From the fault on the text belongs to no field, and every chunk is counted."""

    class Broken:
        def feed(self, text: str) -> list[tuple[str, str]]:
            raise RecursionError(text)

        finish: Any = None

    call = ends.call()
    call.parser = Broken()
    feed = Feed(call)
    for _ in range(3):
        feed.text("abc")
    call.end(COMPLETED)

    assert call.timeline.chunks == 3
    assert call.first_answer_token is not None


def test_a_parser_that_fails_at_the_end_costs_no_chunk(ends: Ends) -> None:
    """The rows that were not folded by then are folded."""

    class Bad:
        def feed(self, text: str) -> list[tuple[str, str]]:
            return [("answer", text)]

        def finish(self) -> list[tuple[str, str]]:
            raise ValueError

    call = ends.call()
    call.parser = Bad()
    for number in range(1, 11):
        call.text(call.started + number, call.started + number, "ab")
    call.end(COMPLETED)

    assert call.timeline.chunks == 10


def test_text_is_not_kept_unless_it_is_wanted(ends: Ends) -> None:
    """Without a text limit, rows carry lengths only."""
    call = ends.call()
    Feed(call).text("secret")

    assert "secret" not in repr(call._block)
    call.end(COMPLETED)


def test_live_rows_stop_with_the_end(ends: Ends) -> None:
    """What a live sink is given ends with the call, the rest of a field included."""
    rows: list[Any] = []

    class Rows:
        text = False

        def __call__(self, _: Any, row: Any) -> None:
            rows.append(row[4])

    ends.live = Rows()  # type: ignore[assignment]
    call = ends.call()
    call.parser = parser_for("chat", ("a",))
    feed = Feed(call)
    feed.text("[[ ## a ## ]]\nx\n[[ ##")
    call.end(COMPLETED)
    feed.text("more")

    assert rows[-1] == "a"
    assert len(rows) == 2
