"""Data of a finished call: span attributes and span events, within a budget of bytes."""

from __future__ import annotations

from heapq import nlargest
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import TEXT
from otel_tokenstream.core.call.model_call import COMPLETED, ModelCall
from otel_tokenstream.core.call.timeline_events import PackedEvents, TimelineEvent
from otel_tokenstream.core.content.event_text import event_texts
from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_tokenstream.core.call.request import Attempt, Request
    from otel_tokenstream.core.call.timeline import Stall, Timeline
    from otel_tokenstream.settings import Settings

# name, time in ns of the monotonic clock, attributes
EventData = tuple[str, int, dict[str, Any]]

_TIME = itemgetter(1)
_NUMBERS = (int, float, bool)

# The batch processor sends 512 spans in one message and a gRPC receiver takes 4 MiB: a span
# above 8 KiB can lose the whole batch, uncounted. These are sizes in OTLP, a little high.
SPAN_BYTES = 7_900
_SPAN_BASE = 160
_TOKEN_BYTES = 232
_FIELD_BYTES = 32
_SPECIAL_BYTES = 150
_STALL_EVENTS = 8
_ATTEMPT_BYTES = 300
_OFFSET_BYTES = 8
_FEWEST_OFFSETS = 40
# More are merged at the end, which takes the longer the more there are.
MOST_EVENTS = 2 * SPAN_BYTES // _TOKEN_BYTES


def request_attributes(request: Request) -> dict[str, Any]:
    """Attributes for the span's creation: the sampler sees these and no others."""
    attributes: dict[str, Any] = {
        signals.OPERATION_NAME: request.operation,
        signals.PROVIDER_NAME: request.provider,
    }
    _put(attributes, signals.REQUEST_MODEL, request.model or None)
    _put(attributes, signals.SERVER_ADDRESS, request.server_address)
    _put(attributes, signals.SERVER_PORT, request.server_port)
    if request.stream:
        attributes[signals.REQUEST_STREAM] = True
    attributes.update(request.parameters)
    return attributes


def outcome_attributes(call: ModelCall) -> dict[str, Any]:
    attributes: dict[str, Any] = {signals.OUTCOME: call.outcome}
    _put(attributes, signals.ERROR_TYPE, call.error_type)
    return attributes


def response_attributes(call: ModelCall) -> dict[str, Any]:
    """Return the attributes known at the end. A value that was not measured is absent."""
    attributes = outcome_attributes(call)
    _put(attributes, signals.RESPONSE_ID, call.response_id)
    _put(attributes, signals.RESPONSE_MODEL, call.response_model)
    _put(attributes, signals.COST_USD, call.cost_usd)
    reasons = _finish_reasons(call)
    if reasons:
        attributes[signals.FINISH_REASONS] = reasons
    if call.attempt_count > 1:
        attributes[signals.ATTEMPTS] = call.attempt_count
    if call.cache_hit:
        attributes[signals.CACHE_HIT] = True
    attributes.update(call.attributes)
    if call.usage is not None:
        usage = call.usage
        _put(attributes, signals.USAGE_INPUT_TOKENS, usage.input)
        _put(attributes, signals.USAGE_OUTPUT_TOKENS, usage.output)
        _put(attributes, signals.USAGE_CACHE_READ, usage.cache_read)
        _put(attributes, signals.USAGE_CACHE_WRITE, usage.cache_write)
        _put(attributes, signals.USAGE_REASONING, usage.reasoning)
        for names, parts in (
            (signals.USAGE_INPUT_BY_MODALITY, usage.input_by),
            (signals.USAGE_CACHE_READ_BY_MODALITY, usage.cache_read_by),
            (signals.USAGE_OUTPUT_BY_MODALITY, usage.output_by),
        ):
            attributes.update({names[modality]: tokens for modality, tokens in (parts or {}).items()})
        attributes[signals.USAGE_SOURCE] = "estimated" if usage.estimated else "provider"
    if call.request.stream:
        attributes.update(_stream_attributes(call))
    return attributes


def _finish_reasons(call: ModelCall) -> list[str]:
    """Return the reason of each choice, "error" for a choice that was cut before it had one."""
    reasons = {index: repaired(reason) for index, reason in call.finish_reasons.items()}
    if call.outcome != COMPLETED and (call.request.stream or not reasons):
        reasons = dict.fromkeys(range(call.choice_count), "error") | reasons
    return [reasons[index] for index in sorted(reasons)]


def _stream_attributes(call: ModelCall) -> dict[str, Any]:
    line = call.timeline
    attributes: dict[str, Any] = {signals.CHUNKS: line.chunks}
    if line.chunks:
        attributes[signals.TIME_TO_FIRST_CHUNK] = (line.first_arrived - call.started) / 1e9
    if call.first_token is not None:
        attributes[signals.TIME_TO_FIRST_TOKEN_MS] = _ms(call.first_token[0] - call.started)
    if call.first_answer_token is not None:
        attributes[signals.TIME_TO_FIRST_ANSWER_TOKEN_MS] = _ms(call.first_answer_token[0] - call.started)
    if line.chunks > 1:
        attributes[signals.GAP_P50_MS], attributes[signals.GAP_P95_MS] = map(_ms, line.gap_percentiles(0.5, 0.95))
        attributes[signals.GAP_MAX_MS] = _ms(line.gap_max)
    opening = call.opening
    if opening is not None:
        attributes[signals.OPENING_MS] = _ms(opening)
    attributes[signals.WAIT_TOTAL_MS] = _ms(line.wait_total)
    if call.first_token is not None:
        attributes[signals.WAIT_MAX_MS] = _ms(line.wait_max)
        attributes[signals.STALL_COUNT] = line.stall_count
        attributes[signals.STALL_TOTAL_MS] = _ms(line.stall_total)
    if line.chunks:
        kept = line.consumer_total if opening is None else call.ended - call.started - opening - line.wait_total
        attributes[signals.CONSUMER_TOTAL_MS] = _ms(max(kept, 0))
    seconds_per_token = time_per_output_token(call)
    if seconds_per_token:
        attributes[signals.OUTPUT_RATE] = 1 / seconds_per_token
    return attributes


def time_per_output_token(call: ModelCall) -> float | None:
    """(last token - first token) / (reported tokens - 1) in s; None where it was not measured."""
    tokens = call.usage.output if call.usage is not None and not call.usage.estimated else None
    if call.first_token is None or tokens is None or tokens < 2:
        return None
    return (call.timeline.last_content - call.first_token[0]) / (tokens - 1) / 1e9


class FittedEvents:
    """Events of an ended call. They are made when they are asked for: until then they are the timeline's own."""

    __slots__ = ("_anchor", "_special", "_started", "_texts", "_tokens")
    most_attributes = 10

    def __init__(self, call: ModelCall, special: list[EventData], tokens: PackedEvents, texts: Sequence[str]) -> None:
        self._started = call.started
        self._anchor = call.wall(0)
        self._special = special
        self._tokens = tokens
        self._texts = texts

    def __len__(self) -> int:
        return len(self._special) + len(self._tokens)

    def made(self) -> Iterator[EventData]:
        """Yield name, time in ns of the wall clock and attributes of each, in the order of time."""
        started, anchor = self._started, self._anchor
        tokens = [token_event(started, event, text) for event, text in zip(self._tokens, self._texts, strict=True)]
        return ((name, anchor + at, given) for name, at, given in sorted(tokens + self._special, key=_TIME))


def fit_events(call: ModelCall, settings: Settings, limit: int, attributes: dict[str, Any]) -> FittedEvents:
    """Return at most ``limit`` events in order of time, and add to ``attributes`` what tells of merged ones.

    Milestones and the longest stalls take at most half of the places.
    """
    if not call.request.stream:
        return FittedEvents(call, list(attempt_events(call))[:limit], PackedEvents(), [])
    taken = _SPAN_BASE + _size(attributes) + _size(request_attributes(call.request))
    taken += _ATTEMPT_BYTES * len(call.attempts)
    special = list(_special_events(call))[: limit // 2]
    room = SPAN_BYTES - taken - _SPECIAL_BYTES * len(special)
    per_event = _TOKEN_BYTES + _FIELD_BYTES * (bool(call.field_first) + call.timeline.events.have_tool_calls)
    if call.timeline.chunks > limit and settings.offsets:
        room -= _FEWEST_OFFSETS * _OFFSET_BYTES
    tokens = call.timeline.fit(min(limit - len(special), max(room // per_event, 3)))
    merged = tokens.merged
    if merged:
        attributes[signals.EVENT_MERGED] = merged
        if settings.offsets:
            room += (_FEWEST_OFFSETS * _OFFSET_BYTES) - per_event * len(tokens)
            attributes[signals.OFFSETS_US] = _offsets_us(call, max(room // _OFFSET_BYTES, _FEWEST_OFFSETS))
    texts = event_texts(tokens, settings, call.timeline.text_missing, call.timeline.text_torn)
    return FittedEvents(call, special, tokens, texts)


def _offsets_us(call: ModelCall, keep: int) -> list[int]:
    offsets = call.timeline.offsets
    step = -(-len(offsets) // keep) or 1
    return offsets[::step].tolist()


def token_event(started: int, event: TimelineEvent, text: str) -> EventData:
    """Return the event of a call that ``started`` at this time, in ns of the monotonic clock."""
    # There are many of these: no call for what has none. The order is that of _position.
    attributes: dict[str, Any] = {
        signals.AT_OFFSET_US: round((event.arrived - started) / 1e3),
        signals.AT_GAP_US: round(event.gap / 1e3),
        signals.AT_INDEX: event.index,
        signals.AT_WAIT_US: round(event.wait / 1e3),
        signals.AT_CHARS: event.chars,
    }
    if event.count != 1:
        attributes[signals.AT_COUNT] = event.count
    if event.kind != TEXT:
        attributes[signals.AT_KIND] = event.kind
    if event.field is not None:
        attributes[signals.AT_FIELD] = repaired(event.field)
    if event.tool is not None:
        attributes[signals.AT_TOOL_CALL] = event.tool.number
    if text:
        attributes[signals.AT_TEXT] = text
    return signals.TOKEN_EVENT, event.arrived, attributes


def milestone_event(call: ModelCall, name: str, at: tuple[int, int, int]) -> EventData:
    return name, at[0], _position(call, *at)


def stall_event(call: ModelCall, stall: Stall) -> EventData:
    attributes = _position(call, stall.arrived, stall.gap, stall.index)
    attributes[signals.AT_WAIT_US] = _us(stall.wait)
    return signals.STALL_EVENT, stall.arrived, attributes


def pending_stall_event(call: ModelCall, line: Timeline, since: int, at: int, phase: str) -> EventData:
    """Return the event of a read that is still blocked; ``line`` has the chunks before it."""
    attributes = _position(call, at, at - line.last_arrived if line.chunks else 0, line.chunks)
    attributes[signals.AT_WAIT_US] = _us(at - since)
    attributes[signals.AT_PHASE] = phase
    return signals.STALL_EVENT, at, attributes


def attempt_events(call: ModelCall) -> Iterator[EventData]:
    """Yield an event for each request, in the order of their starts, if the call took more than one."""
    if call.attempt_count < 2:
        return
    before = call.attempts[0].started
    left_out = call.attempt_count - len(call.attempts)
    for number, attempt in enumerate(call.attempts, 1):
        numbered = number + left_out if attempt is call.attempts[-1] else number
        yield signals.ATTEMPT_EVENT, attempt.started, _attempt(call, attempt, numbered, before)
        before = attempt.started


def _attempt(call: ModelCall, attempt: Attempt, number: int, before: int) -> dict[str, Any]:
    attributes = _position(call, attempt.started, attempt.started - before, number - 1)
    attributes[signals.AT_NUMBER] = number
    _put(attributes, signals.AT_MODEL, attempt.model)
    attributes[signals.AT_DURATION_US] = _us((attempt.ended or call.ended) - attempt.started)
    # The newest attempt may have given the stream that failed the call.
    failed = call.error_type if attempt is call.attempts[-1] else None
    _put(attributes, signals.AT_ERROR_TYPE, attempt.error_type or failed)
    return attributes


def _special_events(call: ModelCall) -> Iterator[EventData]:
    if call.first_token is not None:
        yield milestone_event(call, signals.FIRST_TOKEN_EVENT, call.first_token)
    if call.first_answer_token is not None:
        yield milestone_event(call, signals.FIRST_ANSWER_TOKEN_EVENT, call.first_answer_token)
    yield from attempt_events(call)
    for stall in nlargest(_STALL_EVENTS, call.timeline.stalls, key=lambda stall: stall.wait):
        yield stall_event(call, stall)


def _position(call: ModelCall, arrived: int, gap: int, index: int) -> dict[str, Any]:
    # Grafana addresses these by position: this order, before all others.
    return {
        signals.AT_OFFSET_US: _us(arrived - call.started),
        signals.AT_GAP_US: _us(gap),
        signals.AT_INDEX: index,
    }


def _size(attributes: dict[str, Any]) -> int:
    """Return roughly how many bytes attributes take in OTLP."""
    taken = 10 * len(attributes)
    for key, value in attributes.items():
        taken += len(key) + (8 if type(value) in _NUMBERS else _value_size(value))
    return taken


def _value_size(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, (list, tuple)):
        return sum(4 + _value_size(each) for each in value)
    return 8


def _put(attributes: dict[str, Any], name: str, value: object) -> None:
    if value is not None:
        attributes[name] = repaired(value) if isinstance(value, str) else value


def _ms(nanoseconds: int) -> int:
    return round(nanoseconds / 1e6)


def _us(nanoseconds: int) -> int:
    return round(nanoseconds / 1e3)
