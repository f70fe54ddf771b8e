"""Events that are merged to a budget lose nothing of what they count."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tokenstream.core.call.chunk_kinds import MIXED, REASONING, TEXT, TOOL_CALL
from otel_tokenstream.core.call.timeline_events import Key, Numbers, PackedEvents
from otel_tokenstream.core.call.tool_calls import ToolCall

KEYS: list[Key] = [(TEXT, None, None), (TEXT, "answer", None), (REASONING, None, None), (TOOL_CALL, None, ToolCall(0))]
Made = tuple[PackedEvents, list[tuple[Numbers, Key, str]]]
MOST = settings(max_examples=60, deadline=None)


@st.composite
def packed(draw: st.DrawFn) -> Made:
    """Events of one chunk each, or of a further row of the chunk before, some with text."""
    events, given_ = PackedEvents(), []
    chunks = 0
    for number in range(draw(st.integers(1, 60))):
        count = 1 if not number else draw(st.sampled_from([1, 1, 1, 0]))
        chunks += count
        gap, wait, chars = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40)), draw(st.integers(0, 9))
        numbers = (1_000 + number, gap, chunks - 1, wait, chars, count)
        key, text = draw(st.sampled_from(KEYS)), draw(st.sampled_from(["", "", "a", "bc"]))
        events.append(numbers, key)
        if text:
            events.keep(key, text)
        given_.append((numbers, key, text))
    return events, given_


def same_in_all(events: PackedEvents, given_: list[tuple[Numbers, Key, str]]) -> None:
    told = list(events)
    for at, name in ((3, "wait"), (4, "chars"), (5, "count")):
        assert sum(getattr(event, name) for event in told) == sum(numbers[at] for numbers, _, _ in given_)
    assert max(event.gap for event in told) == max(numbers[1] for numbers, _, _ in given_)
    assert [event.arrived for event in told] == sorted(event.arrived for event in told)
    assert "".join(p.text for event in told for p in event.passages or ()) == "".join(text for _, _, text in given_)
    for event in told:
        assert {passage.key[0] for passage in event.passages or ()} <= {event.kind} or event.kind == MIXED


@MOST
@given(packed())
def test_events_are_told_as_they_were_given(made: Made) -> None:
    events, given_ = made
    assert len(events) == len(given_)
    for event, (numbers, key, text) in zip(events, given_, strict=True):
        assert (event.arrived, event.gap, event.index, event.wait, event.chars, event.count) == numbers
        assert event.key == key
        assert "".join(passage.text for passage in event.passages or ()) == text


@MOST
@given(packed(), st.integers(1, 40))
def test_fitted_events_keep_sums_texts_and_both_ends(made: Made, budget: int) -> None:
    events, given_ = made
    events.fit(budget)
    assert len(events) == min(budget, len(given_))
    same_in_all(events, given_)
    if budget > 2:
        told = list(events)
        assert (told[0].arrived, told[-1].arrived) == (given_[0][0][0], given_[-1][0][0])


@MOST
@given(packed(), st.integers(4, 40))
def test_room_is_made_after_the_first_event(made: Made, budget: int) -> None:
    events, given_ = made
    stride = events.make_room(budget, 1)
    same_in_all(events, given_)
    first, *others = events
    assert (first.arrived, first.count) == (given_[0][0][0], 1)
    assert all(event.count <= stride for event in others)
