"""Streams and spans with values made up, so that a test knows every figure it should find."""

from __future__ import annotations

from array import array
from typing import Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.stream import Span, Stream

SECOND = 10**9
START = 1_800_000_000 * SECOND


def stream(**values: Any) -> Stream:
    """A completed chat of 1 s; what is not named was not measured."""
    absent = dict.fromkeys(
        (
            *("service", "provider", "error_type", "chunks", "input_tokens", "output_tokens", "output_rate"),
            *("first_token_ms", "first_answer_token_ms", "gap_p50_ms", "gap_p95_ms", "gap_max_ms", "wait_total_ms"),
            *("wait_max_ms", "consumer_total_ms", "stall_count", "stall_total_ms", "cost_usd", "gaps_us"),
        )
    )
    usual = {
        "trace_id": "0" * 31 + "1",
        "span_id": "0" * 15 + "1",
        "parent_id": "",
        "start_ns": START,
        "end_ns": START + SECOND,
        "duration_ms": 1000.0,
        "outcome": "completed",
        "streamed": True,
        "operation": "chat",
        "model": "m",
        "attempts": 1,
        "fields": (),
    }
    return Stream(**{**absent, **usual, **values})


def gaps(*milliseconds: float) -> array[int]:
    return array("q", [round(gap * 1000) for gap in milliseconds])


def token(offset_us: int, gap_us: int, index: int, **values: Any) -> tuple[str, dict[str, Any]]:
    """A token event; further attributes by the last part of their names."""
    attributes = {
        signals.AT_OFFSET_US: offset_us,
        signals.AT_GAP_US: gap_us,
        signals.AT_INDEX: index,
        signals.AT_WAIT_US: gap_us,
        signals.AT_CHARS: 4,
    }
    return signals.TOKEN_EVENT, attributes | {f"tokenstream.{name}": value for name, value in values.items()}


def span(attributes: dict[str, Any] | None = None, events: Any = (), **values: Any) -> Span:
    """A completed generation of 1 s."""
    usual = {
        "trace_id": "a" * 32,
        "span_id": "b" * 16,
        "parent_id": "",
        "start_ns": START,
        "end_ns": START + SECOND,
        "attributes": {signals.OUTCOME: "completed", signals.REQUEST_STREAM: True} | (attributes or {}),
        "events": events,
        "resource": {"service.name": "shop"},
    }
    return Span(**{**usual, **values})
