"""The report's figures against the provider's own account and against the spans as the SDK had them."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import signals
from otel_tokenstream.analysis.report import Question, answer, side_of
from otel_tokenstream.analysis.selection import Condition

if TYPE_CHECKING:
    from otel_tokenstream.analysis.groups import Group
    from tests.analysis.conftest import Recorded

SOURCES = ("database", "lines", "document", "zipped")


def groups(recorded: Recorded, source: str = "database", by: str = "model") -> dict[str, Group]:
    report = answer(Question(files=(getattr(recorded, source),), by=tuple(by.split(","))))
    return {group.name: group for group in report.groups}


@pytest.mark.parametrize("source", SOURCES)
def test_streams_tokens_and_outcomes_are_the_providers(recorded: Recorded, source: str) -> None:
    """As many as it was asked for, as many tokens as it reported, and every break it made."""
    found = groups(recorded, source)
    for model in ("gpt-4o-mini", "gpt-4o"):
        sent = recorded.sent(model)
        pieces = sum(len(exchange.sent("text")) for exchange in sent)
        tokens = found[model].measures["output_tokens"]
        assert found[model].streams == len(sent)
        assert found[model].outcomes == {"completed": len(sent)}
        assert tokens is not None
        assert (tokens.count, tokens.total, tokens.p50) == (len(sent), pieces, 20)
        assert (found[model].measures["cost_usd"] is not None) == (model.startswith("gpt"))
    for model in ("cut", "overloaded"):
        assert found[model].outcomes == {"failed": len(recorded.sent(model))}
        assert found[model].failed_share == 1
        assert sum(found[model].errors.values()) == len(recorded.sent(model))
        assert found[model].measures["output_tokens"] is None
    assert found["overloaded"].measures["first_token_ms"] is None
    assert found["overloaded"].stall_known == 0


@pytest.mark.parametrize("source", SOURCES)
def test_percentiles_are_those_of_the_spans(recorded: Recorded, source: str) -> None:
    """Computed anew from the SDK's spans with the standard library, they are the same from every source."""
    found = groups(recorded, source)
    for model in ("gpt-4o-mini", "gpt-4o"):
        spans = recorded.of(model)
        durations = [((each.span.end_time or 0) - (each.span.start_time or 0)) / 1e6 for each in spans]
        rates = [each.attributes[signals.OUTPUT_RATE] for each in spans]
        for name, values in (("duration_ms", durations), ("output_rate", rates)):
            measured = found[model].measures[name]
            cuts = statistics.quantiles(values, n=100, method="inclusive")
            assert measured is not None
            assert (measured.p50, measured.p95, measured.max) == (
                pytest.approx(cuts[49]),
                pytest.approx(cuts[94]),
                pytest.approx(max(values)),
            )
        single = sorted(event.attributes[signals.AT_GAP_US] / 1e3 for each in spans for event in each.tokens[1:])
        gaps = found[model].gaps
        assert gaps is not None
        assert (gaps.count, gaps.known_share) == (len(single), 1.0)
        assert gaps.p99 == pytest.approx(statistics.quantiles(single, n=100, method="inclusive")[98])


def test_first_tokens_are_no_earlier_than_the_provider_sent_them(recorded: Recorded) -> None:
    """Stream by stream they come later than sent, so every percentile does."""
    found = groups(recorded)
    for model in ("gpt-4o-mini", "gpt-4o"):
        sent = [(each.sent("text")[0] - each.received_ns) / 1e6 for each in recorded.sent(model)]
        first = found[model].measures["first_token_ms"]
        assert first is not None
        assert first.p50 >= statistics.median(sent)
        assert first.max >= max(sent)


def test_stalls_are_those_the_provider_made(recorded: Recorded) -> None:
    """One at least in each stream whose provider paused, all of them counted, and their times added up."""
    stalling = groups(recorded)["stalling"]
    assert (stalling.stalled_streams, stalling.stall_known) == (2, 2)
    assert stalling.stalls == sum(each.attributes[signals.STALL_COUNT] for each in recorded.of("stalling")) >= 2
    stalled_for = stalling.measures["stall_total_ms"]
    assert stalled_for is not None
    assert stalled_for.total == sum(each.attributes[signals.STALL_TOTAL_MS] for each in recorded.of("stalling"))


def test_a_long_stream_is_marked_as_estimated(recorded: Recorded) -> None:
    """600 chunks in 32 events hide their gaps; what is said rests on the span's own percentiles."""
    gaps = groups(recorded)["long"].gaps
    attributes = recorded.of("long")[0].attributes
    assert gaps is not None
    assert gaps.count == attributes[signals.CHUNKS] - 1 >= 600
    assert (gaps.known_share, gaps.p99) == (0.0, None)
    assert gaps.p50 == pytest.approx(attributes[signals.GAP_P50_MS], abs=0.5)


def test_fields_have_their_own_first_tokens(recorded: Recorded) -> None:
    """Reasoning comes before the answer; what belongs to the whole stream is absent."""
    found = groups(recorded, by="model,field")
    reasoning, answer_field = found["fields, reasoning"], found["fields, answer"]
    generation = recorded.of("fields")[0]
    first = next(event for event in generation.tokens if event.attributes.get(signals.AT_FIELD) == "reasoning")
    measured, later = reasoning.measures["first_token_ms"], answer_field.measures["first_token_ms"]
    assert measured is not None
    assert later is None or measured.p50 < later.p50
    assert measured.p50 == pytest.approx(first.attributes[signals.AT_OFFSET_US] / 1e3)
    chars = reasoning.measures["chars"]
    assert chars is not None
    assert chars.total > 0
    for name in ("output_tokens", "output_rate", "cost_usd", "wait_max_ms"):
        assert reasoning.measures[name] is None


def test_streams_are_found_under_their_program(recorded: Recorded) -> None:
    """The nearest DSPy module above a call is one of the words; calls outside have none."""
    for source in SOURCES:
        found = groups(recorded, source, by="module")
        assert found["Predict"].streams == 1
        assert found["(none)"].streams == len(recorded.generations) - 1


def test_a_condition_chooses_streams(recorded: Recorded) -> None:
    """Several hold together; attributes go by their full names."""
    where = Condition.parse(f"outcome=failed,{signals.REQUEST_MODEL}=cut")
    report = answer(Question(files=(recorded.lines,), where=(where,)))
    assert report.total.streams == len(recorded.sent("cut"))
    assert report.total.outcomes == {"failed": report.total.streams}


def test_time_steps_hold_every_stream_once(recorded: Recorded) -> None:
    """By second, by hour and by session the counts add up to all; the run is one session."""
    for step in ("second", "minute", "hour", "day", "session", "auto"):
        over = answer(Question(files=(recorded.lines,), over=step)).over_time
        assert sum(bucket.streams for bucket in over.buckets) == len(recorded.generations)
        starts = [bucket.key["start"] for bucket in over.buckets]
        assert starts == sorted(starts, key=str)
    sessions = answer(Question(files=(recorded.lines,), over="session")).over_time
    assert len(sessions.buckets) == 1


def test_models_are_compared(recorded: Recorded) -> None:
    """The model that the script lets begin sooner is named; the sample is too small for tails."""
    question = Question(files=(recorded.database,), compare=(side_of("model=gpt-4o"), side_of("model=gpt-4o-mini")))
    comparison = answer(question).comparison
    assert comparison is not None
    found = {(each.measure, each.statistic): each for each in comparison.differences}
    assert found["first_token_ms", "p50"].better == "b"
    assert found["first_token_ms", "p95"].better == "too few"
    assert found["failed", "share"].better == "none shown"


def test_two_recordings_are_compared(recorded: Recorded) -> None:
    """A file against another one: with itself nothing differs."""
    comparison = answer(Question(compare=(side_of(str(recorded.lines)), side_of(str(recorded.zipped))))).comparison
    assert comparison is not None
    assert comparison.a.streams == comparison.b.streams == len(recorded.generations)
    assert {each.better for each in comparison.differences} <= {"none shown", "too few"}
    assert {each.difference for each in comparison.differences} == {0.0}
