from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import TEXT
from otel_tokenstream.core.call.model_call import COMPLETED, now
from otel_tokenstream.core.call.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3_600_000_000_000


def test_a_step_of_the_wall_clock_moves_nothing(record: Callable[..., Any], monkeypatch: Any) -> None:
    """Set back by an hour in mid-stream, the clock leaves span and events where their stream began."""
    telemetry, captured = record()
    before, began = time.time_ns(), now()
    call = telemetry.start(Request("chat", "scripted", "test", stream=True))
    read_started = now()
    call.chunk(read_started, now(), TEXT, 1, None, None)
    monkeypatch.setattr(time, "time_ns", lambda: before - HOUR)
    call.chunk(now(), now(), TEXT, 1, None, None)
    call.end(COMPLETED)
    monkeypatch.undo()
    after, took = time.time_ns(), now() - began

    (generation,) = captured.generations
    assert before <= generation.span.start_time <= generation.span.end_time <= after
    assert all(before <= event.at <= after for event in generation.events)
    assert generation.attributes[signals.GAP_MAX_MS] <= took / 1e6
