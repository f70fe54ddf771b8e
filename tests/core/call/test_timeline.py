from __future__ import annotations

from bisect import bisect_left
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import MIXED, REASONING, TEXT, TOOL_CALL
from otel_tokenstream.core.call.gap_histogram import gaps
from otel_tokenstream.core.call.timeline import STALLS_KEPT, Timeline
from otel_tokenstream.core.call.tool_calls import ToolCall
from tests.core.timelines import MS, START, arrivals_of, fed, rows, size_of, steady

if TYPE_CHECKING:
    from otel_tokenstream.core.call.timeline_events import Key

GAPS = st.lists(st.integers(10_000, 3_600_000 * MS), min_size=1, max_size=200)
MOST = settings(max_examples=60, deadline=None)


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 16, 32, 128])
@pytest.mark.parametrize("chunks", [1, 2, 3, 20, 1_000])
@pytest.mark.parametrize("kinds", ["t", "rt", "rrrrrrrrt"])
def test_events_stay_in_the_budget_and_count_every_chunk(budget: int, chunks: int, kinds: str) -> None:
    """However long the stream is and whatever it brings, its events fit and their counts sum to its chunks."""
    timeline = fed(Timeline(budget=budget), rows(steady(chunks), kinds=kinds))

    events = timeline.fit(budget)

    assert len(events) <= budget
    assert sum(event.count for event in events) == timeline.chunks == chunks
    assert sum(event.chars for event in events) == 2 * chunks
    assert [event.index for event in events] == sorted({event.index for event in events})


@pytest.mark.parametrize("budget", [3, 16, 32])
def test_first_and_last_chunk_have_events_of_their_own(budget: int) -> None:
    """What is merged is the middle: the first and the last chunk keep their own event and time."""
    timeline = fed(Timeline(budget=budget), rows(steady(5_000)))

    first, *_, last = timeline.fit(budget)

    assert (first.index, first.count, first.arrived) == (0, 1, START)
    assert (last.index, last.count, last.arrived) == (4_999, 1, START + 4_999 * 10 * MS)


def test_a_short_stream_keeps_an_event_a_chunk() -> None:
    """Nothing is merged below the budget."""
    timeline = fed(Timeline(budget=32), rows(steady(32)))

    assert [event.count for event in timeline.fit(32)] == [1] * 32


@pytest.mark.parametrize("kinds", ["t", "rt", "rrt"])
def test_events_of_a_long_stream_are_even(kinds: str) -> None:
    """At 200,000 chunks no event holds more than a sixth of them, also where the kind keeps changing."""
    timeline = fed(Timeline(budget=32), rows(steady(200_000), kinds=kinds))

    events = timeline.fit(32)

    assert len(events) >= 12
    assert max(event.count for event in events) <= 200_000 / 6


def test_kinds_and_fields_are_kept_apart_while_their_runs_fit() -> None:
    """Runs of one kind or field share no event as long as there are places for the runs."""
    timeline = Timeline(budget=16)
    given = [
        (at, at, kind, 1, field, None, None)
        for at, (kind, field) in zip(
            steady(900), [("reasoning", None)] * 300 + [(TEXT, "a")] * 300 + [(TEXT, "b")] * 300, strict=True
        )
    ]

    events = fed(timeline, given).fit(16)

    assert MIXED not in {event.kind for event in events}
    for name, field in (("reasoning", None), (TEXT, "a"), (TEXT, "b")):
        assert sum(event.count for event in events if (event.kind, event.field) == (name, field)) == 300


def test_runs_beyond_the_budget_are_mixed_and_say_so() -> None:
    """Where more runs came than there are places, neighbours share events of kind mixed without a field."""
    timeline = fed(Timeline(budget=8), rows(steady(64), kinds="rt"))

    events = timeline.fit(8)

    assert len(events) <= 8
    assert MIXED in {event.kind for event in events}
    assert all(event.field is None for event in events if event.kind == MIXED)


def test_merged_events_keep_the_largest_gap_and_all_waits() -> None:
    """The one long gap among thousands is still seen, and no wait is lost."""
    arrivals = list(steady(3_000, gap=MS))
    arrivals[1_500:] = [at + 700 * MS for at in arrivals[1_500:]]
    given = [(at - (300 * MS if n == 1_500 else 0), at, TEXT, 1, None, None, None) for n, at in enumerate(arrivals)]

    events = fed(Timeline(budget=16), given).fit(16)

    assert max(event.gap for event in events) == 701 * MS
    assert sum(event.wait for event in events) == 300 * MS


@MOST
@given(GAPS, st.sampled_from([0.5, 0.95, 0.99]))
def test_percentiles_are_within_their_promise(lengths: list[int], share: float) -> None:
    """A percentile is off by less than 0.8 % of the gap of that rank; the longest gap is exact."""
    timeline = fed(Timeline(budget=8), rows(arrivals_of(lengths)))
    rank = share * len(lengths)
    exact = next(gap for number, gap in enumerate(sorted(lengths), 1) if number >= rank)

    assert timeline.gap_percentiles(share)[0] == pytest.approx(exact, rel=0.008)
    assert timeline.gap_max == max(lengths)


@MOST
@given(GAPS)
def test_replayed_gaps_have_the_exact_count_and_sum(lengths: list[int]) -> None:
    """What a histogram is given from the buckets sums up to what was measured."""
    timeline = fed(Timeline(budget=8), rows(arrivals_of(lengths)))

    replayed = [(gap, count) for _, gap, count in gaps(timeline.gap_counts, timeline.gap_total)]

    assert sum(count for _, count in replayed) == len(lengths)
    assert sum(gap * count for gap, count in replayed) == pytest.approx(sum(lengths), rel=1e-12)


# These bounds are bounds of our buckets too. 1 ms and 30 s are not: there a gap within 1.6 % may change sides.
EXACT_BOUNDS = [bound for bound in signals.METRICS[signals.GAP_MAX].buckets if bound not in (0.001, 30.0)]


@st.composite
def near_bounds(draw: st.DrawFn) -> int:
    bound = draw(st.sampled_from(EXACT_BOUNDS))
    aside = draw(st.one_of(st.just(0.0), st.floats(1e-9, 0.5))) * draw(st.sampled_from([-1, 1]))
    return round(bound * 1e9 * (1 + aside))


@MOST
@given(st.lists(near_bounds(), min_size=1, max_size=100))
@example([3_750_000, 2_500_000])
@example([2_500_000_000, 2_500_000_001, 3_750_000_000])
def test_replayed_gaps_fall_on_the_right_side_of_the_bounds(lengths: list[int]) -> None:
    """The explicit histogram of replayed gaps is that of the gaps themselves, at every exact bound."""
    timeline = fed(Timeline(budget=8), rows(arrivals_of(lengths)))
    direct, replayed = [0] * (len(EXACT_BOUNDS) + 1), [0] * (len(EXACT_BOUNDS) + 1)
    for length in lengths:
        direct[bisect_left(EXACT_BOUNDS, length / 1e9)] += 1
    for _, gap, count in gaps(timeline.gap_counts, timeline.gap_total):
        replayed[bisect_left(EXACT_BOUNDS, gap / 1e9)] += count

    assert replayed == direct


def test_bounds_of_the_gap_histogram_are_bounds_of_buckets() -> None:
    """A gap one millionth above a bound is counted in another bucket than one a millionth below."""
    for bound in EXACT_BOUNDS:
        sides = []
        for factor in (1 - 1e-6, 1 + 1e-6):
            timeline = fed(Timeline(budget=4), rows(arrivals_of([round(bound * 1e9 * factor)])))
            sides += timeline.gap_counts
        assert sides[0] != sides[1], f"{bound} s lies within a bucket"


@pytest.mark.parametrize("chunks", [1, 10, 256, 257, 5_000, 100_000])
def test_offsets_are_evenly_chosen(chunks: int) -> None:
    """Up to the kept number all arrivals are there; beyond it equally many chunks lie between any two."""
    timeline = fed(Timeline(budget=4, offsets=256), rows(steady(chunks, gap=MS)))

    steps = {later - earlier for earlier, later in pairwise(timeline.offsets)}
    assert len(timeline.offsets) == chunks if chunks <= 256 else 128 <= len(timeline.offsets) <= 256
    assert len(steps) <= 1
    assert timeline.offsets[0] == START / 1e3
    assert (START + (chunks - 1) * MS) / 1e3 - timeline.offsets[-1] < max(steps, default=1)


@pytest.mark.parametrize("offsets", [[-5_000, 1, 2_000], [1_000, 1 << 33, (1 << 33) + 1]])
def test_offsets_may_be_before_the_origin_and_hours_later(offsets: list[int]) -> None:
    """They do not fit into four bytes then."""
    timeline = Timeline(budget=4, offsets=4, origin=START)
    timeline.extend([(START, START + at * 1_000, TEXT, 1, None, None, None) for at in offsets])
    assert timeline.offsets.tolist() == offsets


def test_stalls_keep_the_longest_and_their_total_is_exact() -> None:
    """Of very many stalls the longest are kept one by one, and the sum and number are of all."""
    many = STALLS_KEPT + 12
    waits = [(number % many + 1) * MS for number in range(7, 7 + many)]
    timeline = Timeline(budget=8, stall_threshold=MS)
    given = [(START, START, TEXT, 1, None, None, None)]
    given += [
        (at - wait, at, TEXT, 1, None, None, None)
        for at, wait in zip(steady(many + 1, 500 * MS), [0, *waits], strict=True)
    ][1:]

    timeline = fed(timeline, given)

    assert timeline.stall_count == many
    assert timeline.stall_total == sum(waits)
    assert sorted(stall.wait for stall in timeline.stalls) == sorted(waits)[-STALLS_KEPT:]


def test_the_wait_for_the_first_token_is_no_stall() -> None:
    """A long wait for the first content, with empty chunks before it, is neither a stall nor the longest wait."""
    late = START + 9_000 * MS
    timeline = Timeline(budget=8, stall_threshold=MS)

    timeline = fed(
        timeline,
        [
            (START, START, "empty", 0, None, None, None),
            (START, late, TEXT, 1, None, None, None),
            (late, late + 1, TEXT, 1, None, None, None),
        ],
    )

    assert timeline.stall_count == 0
    assert timeline.wait_max == 1


@MOST
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=100), st.booleans())
def test_consumer_time_is_the_time_the_caller_kept_chunks(kept_and_waited: list[tuple[int, int]], ended: bool) -> None:
    """The consumer's total equals the direct sum of arrived to the next read's start, with or without a last read."""
    timeline, given, at, consumer = Timeline(budget=4), [], START, 0
    for number, (kept, waited) in enumerate(kept_and_waited):
        read_started = at + (kept if number else 0)
        consumer += read_started - at
        at = read_started + waited
        given.append((read_started, at, TEXT, 1, None, None, None))
    timeline = fed(timeline, given)
    if ended:
        timeline.blocked(at + 17, at + 40, token_awaited=False)
        consumer += 17

    assert timeline.consumer_total == consumer


def test_text_is_kept_up_to_its_limit() -> None:
    """The first characters of a stream are kept, wherever its events were merged, and no more."""
    given = [(at, at, TEXT, 3, None, "abc", None) for at in steady(500)]

    timeline = fed(Timeline(budget=8, text_limit=100), given)

    text = "".join(passage.text for event in timeline.fit(8) for passage in event.passages or ())
    assert text == ("abc" * 500)[:100]


def test_no_text_is_kept_without_a_limit() -> None:
    """With capture off a timeline holds no text even if it is given some."""
    timeline = fed(Timeline(budget=8), [(at, at, TEXT, 3, None, "abc", None) for at in steady(50)])

    assert all(event.passages is None for event in timeline.events)


@pytest.mark.parametrize(("kinds", "share"), [("t", 0.05), ("rt", 0.15)])
def test_a_million_chunks_take_constant_memory_and_stay_even(kinds: str, share: float) -> None:
    """At 1,000,000 chunks a timeline holds less than 200 kB, and its largest event a small part of the chunks."""
    timeline = Timeline(budget=32, offsets=256, stall_threshold=2_000 * MS)
    arrivals = (START + number * 10 * MS + number % 977 * 1_000 for number in range(1_000_000))

    fed(timeline, rows(arrivals, wait=MS, kinds=kinds), block=64)

    assert size_of(timeline) < 200_000
    events = timeline.fit(32)
    assert sum(event.count for event in events) == 1_000_000
    assert max(event.count for event in events) < share * 1_000_000
    assert timeline.gap_percentiles(0.5)[0] == pytest.approx(10 * MS, rel=0.009)


@MOST
@given(
    st.lists(
        st.sampled_from(
            [
                (TEXT, None, None),
                (TEXT, "a", None),
                (REASONING, None, None),
                (TOOL_CALL, None, ToolCall(0)),
                (TOOL_CALL, None, ToolCall(1)),
            ]
        ),
        max_size=150,
    ),
    st.sampled_from([1, 2, 4, 8, 32]),
)
def test_merging_cuts_no_run_of_text_in_two(said: list[Key], budget: int) -> None:
    """Neighbouring text of one kind, field and tool call stays together, and nothing else, or a redaction hook sees
    halves, or two calls as one."""
    timeline = fed(
        Timeline(budget=budget, text_limit=10_000),
        [(START + at, START + at + 1, kind, 2, field, f"{at};", tool) for at, (kind, field, tool) in enumerate(said)],
    )

    passages = [passage for event in timeline.fit(budget) for passage in event.passages or ()]

    expected = [(key, "".join(f"{at};" for at, _ in run)) for key, run in groupby(enumerate(said), lambda row: row[1])]
    runs = groupby(passages, lambda passage: passage.key)
    assert [(key, "".join(each.text for each in run)) for key, run in runs] == expected
