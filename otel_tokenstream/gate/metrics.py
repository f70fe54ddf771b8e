"""Quantities that a gate judges: measures of a stream, and properties that a stream has or lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tokenstream.analysis.stream import Stream

COMPLETED = "completed"
FAILED = "failed"


@dataclass(frozen=True)
class Measure:
    """A duration in ms; ``of`` returns None for a stream of which it was not measured."""

    title: str
    of: Callable[[Stream], float | None]


@dataclass(frozen=True)
class Share:
    """A property of streams; ``of`` returns None for a stream of which it is unknown."""

    title: str
    of: Callable[[Stream], bool | None]


def _time_per_output_token(stream: Stream) -> float | None:
    # The rate is (tokens - 1) / (last token - first token): its inverse is the time per output token.
    return 1_000 / stream.output_rate if stream.output_rate else None


MEASURES: dict[str, Measure] = {
    "first_token": Measure("first token", lambda stream: stream.first_token_ms),
    "first_answer_token": Measure("first answer token", lambda stream: stream.first_answer_token_ms),
    "longest_wait": Measure("longest wait", lambda stream: stream.wait_max_ms),
    "time_per_output_token": Measure("time per output token", _time_per_output_token),
    # A stream that was left early says nothing about how long its answer takes.
    "duration": Measure("duration", lambda stream: stream.duration_ms if stream.outcome == COMPLETED else None),
}

SHARES: dict[str, Share] = {
    "failed_share": Share("failed", lambda stream: stream.outcome == FAILED),
    "stalled_share": Share("stalled", lambda stream: None if stream.stall_count is None else stream.stall_count > 0),
}


@dataclass(frozen=True)
class Goodput:
    """Limits in ms that a good stream meets together; ``at_least`` is the share of good streams to reach.

    As in load tests of inference servers: a stream that failed is not good, and one that its caller left is not
    counted, because nobody knows how it would have ended.
    """

    at_least: float
    limits: tuple[tuple[str, float], ...]

    def is_missed(self, stream: Stream) -> bool | None:
        if stream.outcome == FAILED:
            return True
        if stream.outcome != COMPLETED:
            return None
        values = [(MEASURES[name].of(stream), limit) for name, limit in self.limits]
        if any(value is not None and value > limit for value, limit in values):
            return True
        return None if any(value is None for value, _ in values) else False


def values_of(measure: Measure, streams: Sequence[Stream]) -> list[float]:
    """Return the values of the streams of which it was measured, in ascending order."""
    return sorted(value for stream in streams if (value := measure.of(stream)) is not None)


def count_of(of: Callable[[Stream], bool | None], streams: Sequence[Stream]) -> tuple[int, int]:
    """Return how many streams have a property, and of how many that is known."""
    known = [answer for stream in streams if (answer := of(stream)) is not None]
    return sum(known), len(known)
