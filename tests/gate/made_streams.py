"""Streams with the times a test gives them, and configurations as a file would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.stream import Stream
from otel_tokenstream.gate.configuration import Configuration, parse

if TYPE_CHECKING:
    from collections.abc import Iterable


def stream(number: int = 0, **about: Any) -> Stream:
    """A completed stream of one second with a first token after 100 ms, but for what is given."""
    known: dict[str, Any] = {
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "parent_id": "",
        "start_ns": number,
        "end_ns": number + 1_000_000_000,
        "duration_ms": 1_000.0,
        "outcome": "completed",
        "streamed": True,
        "service": "shop",
        "operation": "chat",
        "provider": "openai",
        "model": "gpt-4o",
        "error_type": None,
        "chunks": 20,
        "input_tokens": 10,
        "output_tokens": 20,
        "output_rate": 50.0,
        "first_token_ms": 100.0,
        "first_answer_token_ms": 100.0,
        "gap_p50_ms": 20,
        "gap_p95_ms": 30,
        "gap_max_ms": 40,
        "wait_total_ms": 900,
        "wait_max_ms": 40,
        "consumer_total_ms": 10,
        "stall_count": 0,
        "stall_total_ms": 0,
        "attempts": 1,
        "cost_usd": None,
        "gaps_us": None,
        "fields": (),
    }
    return Stream(**{**known, **about})


def streams(first_tokens: Iterable[float], **about: Any) -> list[Stream]:
    """One stream for each time to the first token, in ms."""
    return [stream(number, first_token_ms=each, **about) for number, each in enumerate(first_tokens)]


def configured(kind: str = "budget", **limits: Any) -> Configuration:
    return parse({kind: [{"name": "all", **limits}]})
