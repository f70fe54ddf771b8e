"""Measures of a stream: one line for each, with the name and unit for tables, plots and comparisons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.analysis.stream import Stream


@dataclass(frozen=True)
class Measure:
    name: str
    title: str
    unit: Literal["ms", "{token}/s", "{token}", "{chunk}", "{char}", "{attempt}", "USD"]
    of: Callable[[Stream], float | None]


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("duration_ms", "duration", "ms", lambda stream: stream.duration_ms),
        Measure("first_token_ms", "first token", "ms", lambda stream: stream.first_token_ms),
        Measure("first_answer_token_ms", "first answer token", "ms", lambda stream: stream.first_answer_token_ms),
        Measure("output_rate", "tokens/s", "{token}/s", lambda stream: stream.output_rate),
        Measure("gap_p50_ms", "gap p50 of a stream", "ms", lambda stream: stream.gap_p50_ms),
        Measure("gap_p95_ms", "gap p95 of a stream", "ms", lambda stream: stream.gap_p95_ms),
        Measure("gap_max_ms", "longest gap", "ms", lambda stream: stream.gap_max_ms),
        Measure("wait_max_ms", "longest wait", "ms", lambda stream: stream.wait_max_ms),
        Measure("opening_ms", "opening", "ms", lambda stream: stream.opening_ms),
        Measure("wait_total_ms", "waits", "ms", lambda stream: stream.wait_total_ms),
        Measure("consumer_total_ms", "consumer time", "ms", lambda stream: stream.consumer_total_ms),
        Measure(
            "stall_total_ms",
            "stalled for",
            "ms",
            lambda stream: stream.stall_total_ms if stream.stall_count else None,
        ),
        Measure("chunks", "chunks", "{chunk}", lambda stream: stream.chunks),
        Measure("chars", "characters", "{char}", lambda stream: stream.chars),
        Measure("input_tokens", "input tokens", "{token}", lambda stream: stream.input_tokens),
        Measure("output_tokens", "output tokens", "{token}", lambda stream: stream.output_tokens),
        Measure("attempts", "attempts", "{attempt}", lambda stream: None if stream.field else stream.attempts),
        Measure("cost_usd", "cost", "USD", lambda stream: stream.cost_usd),
    )
}


def values_of(measure: Measure, streams: list[Stream]) -> list[float]:
    """Of the streams of which it was measured."""
    return [value for stream in streams if (value := measure.of(stream)) is not None]
