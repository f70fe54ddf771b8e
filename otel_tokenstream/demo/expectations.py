"""Expectations of the signals after the two programs ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.measured import Stream, Viewer


@dataclass(frozen=True)
class Calls:
    """Calls of one kind: how many there must be, and how many of them stream."""

    service: str
    model: str
    outcome: str
    count: int
    streamed: int


SCRIPTED_CALLS = (
    Calls("demo-litellm", "human", "completed", 4, 3),
    Calls("demo-litellm", "human", "closed", 1, 1),
    Calls("demo-litellm", "thinking", "completed", 1, 1),
    Calls("demo-litellm", "slow-start", "completed", 1, 1),
    Calls("demo-litellm", "stall", "completed", 1, 1),
    Calls("demo-litellm", "cut", "failed", 1, 1),
    Calls("demo-litellm", "error", "failed", 1, 0),
    Calls("demo-litellm", "tools", "completed", 1, 1),
    Calls("demo-dspy", "human", "completed", 6, 4),
)
FIELDS = {"reasoning", "answer", "next_thought", "next_tool_name", "next_tool_args"}

METRICS = {
    signals.OPERATION_DURATION,
    signals.OPERATION_TIME_TO_FIRST_CHUNK,
    signals.OPERATION_TIME_PER_OUTPUT_CHUNK,
    signals.TOKEN_USAGE,
    signals.TIME_TO_FIRST_TOKEN,
    signals.TIME_TO_FIRST_ANSWER_TOKEN,
    signals.WAIT_MAX,
    signals.GAP_MAX,
    signals.STREAMS,
    signals.TOKENS,
    signals.STREAM_ACTIVE,
}
SCRIPTED_METRICS = METRICS | {
    signals.STALL_DURATION,
    signals.FIELD_TIME_TO_FIRST_TOKEN,
    # Only where the usage of a stream is reported, which not every provider does.
    signals.TIME_PER_OUTPUT_TOKEN,
    signals.OUTPUT_RATE_METRIC,
}

SLOW_READER_MS = 60 * 60 * 0.9


def missing(viewer: Viewer, streams: list[Stream], *, scripted: bool) -> list[str]:
    """One line for everything that is not as it must be."""
    details = [viewer.detail(stream) for stream in streams]
    lines = [line for stream, detail in zip(streams, details, strict=True) for line in _of_one(stream, detail)]
    lines += _scripted_calls(streams) if scripted else _any_calls(streams)
    wanted = SCRIPTED_METRICS if scripted else METRICS
    lines += [f"metric {name}" for name in sorted(wanted - viewer.metrics())]
    return lines


def _of_one(stream: Stream, detail: dict[str, Any]) -> Iterator[str]:
    """Check the properties that every call has, whoever answered it."""
    call = f"{stream['service']}, {stream['operation']} {stream['model']}, {stream['outcome']}"
    if stream["chunks"]:
        told = sum(event.get("count", 1) for event in detail["events"] if event["name"] == signals.TOKEN_EVENT)
        if told != stream["chunks"]:
            yield f"{call}: its token events tell of {told} chunks, it had {stream['chunks']}"
        if stream["time_to_first_token_ms"] is None:
            yield f"{call}: the time to its first token"
    if stream["outcome"] == "failed" and not stream["error_type"]:
        yield f"{call}: its error type"
    if stream["service"] == "demo-dspy":
        spans = {span["span_id"]: span for span in detail["trace"]}
        parent = spans.get(spans[stream["span_id"]]["parent_id"])
        if parent is None or parent["is_generation"]:
            yield f"{call}: the span of its module as parent"


def _scripted_calls(streams: list[Stream]) -> Iterator[str]:
    kinds = {(calls.service, calls.model, calls.outcome) for calls in SCRIPTED_CALLS}
    for stream in streams:
        if _kind(stream) not in kinds:
            yield f"no such call was expected: {', '.join(_kind(stream))}"
    for calls in SCRIPTED_CALLS:
        found = [stream for stream in streams if _kind(stream) == (calls.service, calls.model, calls.outcome)]
        streamed = sum(bool(stream["chunks"]) for stream in found)
        if (len(found), streamed) != (calls.count, calls.streamed):
            yield (
                f"{calls.service}: {calls.count} {calls.outcome} calls of {calls.model}, {calls.streamed} of them "
                f"streamed; there are {len(found)}, {streamed} of them streamed"
            )
    stalls = [(stream["stall_count"], stream["stall_total_ms"]) for stream in streams if _model(stream) == "stall"]
    if [count for count, _ in stalls] != [1] or not 2300 < stalls[0][1] < 5000:
        yield f"the pause of 2.5 s as one stall; there are {stalls}"
    if not any((stream["consumer_total_ms"] or 0) >= SLOW_READER_MS for stream in streams):
        yield "the slow reader's time as consumer time"
    lacking = FIELDS - {field for stream in streams for field in stream["fields"]}
    if lacking:
        yield f"output fields: {', '.join(sorted(lacking))}"


def _any_calls(streams: list[Stream]) -> Iterator[str]:
    """With a real model only the number and kind of litellm's calls is known; DSPy may ask again."""
    outcomes = [stream["outcome"] for stream in streams if stream["service"] == "demo-litellm"]
    if len(outcomes) != 7 or outcomes.count("closed") != 1:
        yield f"demo-litellm: 7 calls, 1 of them closed; there are {sorted(outcomes)}"
    if sum(stream["service"] == "demo-dspy" for stream in streams) < 4:
        yield "demo-dspy: at least 4 calls"


def _kind(stream: Stream) -> tuple[str, str, str]:
    return stream["service"], _model(stream), stream["outcome"]


def _model(stream: Stream) -> str:
    return str(stream["model"]).removeprefix("openai/")
