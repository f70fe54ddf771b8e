"""One recorded stream: what its span, or its events in the log, say of it."""

from __future__ import annotations

import dataclasses
from array import array
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import Attributes, integer, number, text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

Event = tuple[str, Attributes]


@dataclass(frozen=True)
class Span:
    """A span of any kind, as a source gives it; ids are lower-case hexadecimal."""

    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    events: Sequence[Event]
    resource: Attributes


@dataclass(frozen=True)
class Field:
    """One output field of a stream, with times since the call.

    ``first_token_ms`` is None where it is hidden in an event that several fields share.
    """

    name: str
    first_token_ms: float | None
    last_token_ms: float
    chars: int
    gaps_us: array[int] | None


@dataclass(frozen=True)
class Pace:
    """Facts from the events: milestones to the microsecond, gaps and output fields.

    ``gaps_us`` is None unless every arrival is known: events that stand for several chunks hide theirs.
    """

    first_token_ms: float | None = None
    first_answer_token_ms: float | None = None
    gaps_us: array[int] | None = None
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Stream:
    """A model call that ended. None is a value that was not measured.

    ``operation`` is the program's own name of what it does, else the convention's; ``module`` is the nearest
    DSPy module above the call.
    """

    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    duration_ms: float | None
    outcome: str
    streamed: bool
    service: str | None
    operation: str | None
    provider: str | None
    model: str | None
    error_type: str | None
    chunks: int | None
    input_tokens: int | None
    output_tokens: int | None
    output_rate: float | None
    first_token_ms: float | None
    first_answer_token_ms: float | None
    gap_p50_ms: int | None
    gap_p95_ms: int | None
    gap_max_ms: int | None
    wait_total_ms: int | None
    wait_max_ms: int | None
    consumer_total_ms: int | None
    stall_count: int | None
    stall_total_ms: int | None
    attempts: int
    cost_usd: float | None
    gaps_us: array[int] | None
    fields: tuple[Field, ...]
    module: str | None = None
    field: str | None = None
    """Set where a stream was divided by its output fields."""
    chars: int | None = None
    opening_ms: int | None = None
    """Time within the call that opened the stream."""
    attributes: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """The attributes requested by name."""

    def _repr_html_(self) -> str:
        """For notebooks."""
        from otel_tokenstream.analysis.notebook import stream_html  # noqa: PLC0415  # which needs this module

        return stream_html(self)


def stream_of(span: Span, wanted: Collection[str] = ()) -> Stream | None:
    """None if the span is no generation. ``wanted`` names attributes, of span or resource, to keep."""
    attributes = span.attributes
    outcome = text(attributes, signals.OUTCOME)
    if outcome is None:
        return None
    pace = pace_of(span.events, attributes)
    return Stream(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        start_ns=span.start_ns,
        end_ns=max(span.start_ns, span.end_ns),
        duration_ms=max(0, span.end_ns - span.start_ns) / 1e6,
        outcome=outcome,
        streamed=attributes.get(signals.REQUEST_STREAM) is True,
        service=text(span.resource, "service.name"),
        operation=text(attributes, signals.OPERATION) or text(attributes, signals.OPERATION_NAME),
        provider=text(attributes, signals.PROVIDER_NAME),
        model=text(attributes, signals.REQUEST_MODEL),
        error_type=text(attributes, signals.ERROR_TYPE),
        chunks=integer(attributes, signals.CHUNKS),
        input_tokens=integer(attributes, signals.USAGE_INPUT_TOKENS),
        output_tokens=integer(attributes, signals.USAGE_OUTPUT_TOKENS),
        output_rate=number(attributes, signals.OUTPUT_RATE),
        first_token_ms=_either(pace.first_token_ms, integer(attributes, signals.TIME_TO_FIRST_TOKEN_MS)),
        first_answer_token_ms=_either(
            pace.first_answer_token_ms, integer(attributes, signals.TIME_TO_FIRST_ANSWER_TOKEN_MS)
        ),
        gap_p50_ms=integer(attributes, signals.GAP_P50_MS),
        gap_p95_ms=integer(attributes, signals.GAP_P95_MS),
        gap_max_ms=integer(attributes, signals.GAP_MAX_MS),
        opening_ms=integer(attributes, signals.OPENING_MS),
        wait_total_ms=integer(attributes, signals.WAIT_TOTAL_MS),
        wait_max_ms=integer(attributes, signals.WAIT_MAX_MS),
        consumer_total_ms=integer(attributes, signals.CONSUMER_TOTAL_MS),
        stall_count=integer(attributes, signals.STALL_COUNT),
        stall_total_ms=integer(attributes, signals.STALL_TOTAL_MS),
        attempts=integer(attributes, signals.ATTEMPTS) or 1,  # absent says one
        cost_usd=number(attributes, signals.COST_USD),
        gaps_us=pace.gaps_us,
        fields=pace.fields,
        attributes={name: _either(text(attributes, name), text(span.resource, name)) for name in wanted},
    )


class _Token(NamedTuple):
    """A token event: an arrival, of so many chunks, 0 for a further field of the same chunk."""

    offset_us: int
    place: int
    chunks: int
    attributes: Attributes


def pace_of(events: Sequence[Event], attributes: Attributes) -> Pace:
    """From the events of a span or of the log; ``attributes`` are the span's."""
    milestones: dict[str, int | None] = {}
    tokens: list[_Token] = []
    for name, of in events:
        offset = integer(of, signals.AT_OFFSET_US)
        if name != signals.TOKEN_EVENT:
            milestones[name] = offset
        elif offset is not None:
            tokens.append(_Token(offset, integer(of, signals.AT_INDEX) or 0, _count(of), of))
    tokens.sort(key=itemgetter(0, 1))
    return Pace(
        first_token_ms=_ms(milestones.get(signals.FIRST_TOKEN_EVENT)),
        first_answer_token_ms=_ms(milestones.get(signals.FIRST_ANSWER_TOKEN_EVENT)),
        gaps_us=_gaps(tokens, attributes),
        fields=_fields(tokens),
    )


def chunks_told(events: Sequence[Event]) -> tuple[int, int]:
    """Chunks the token events cover, and how finely: to choose between events of the span and of the log."""
    counts = [_count(of) for name, of in events if name == signals.TOKEN_EVENT]
    return sum(counts), len(counts)


def _count(event: Attributes) -> int:
    count = integer(event, signals.AT_COUNT)
    return 1 if count is None else count


def _gaps(tokens: Sequence[_Token], attributes: Attributes) -> array[int] | None:
    chunks = integer(attributes, signals.CHUNKS)
    if chunks is None:
        return None
    counts = [token.chunks for token in tokens]
    if sum(counts) == chunks and max(counts, default=0) <= 1:
        return _gaps_before([token for token in tokens if token.chunks][1:])
    offsets: Any = attributes.get(signals.OFFSETS_US)
    if isinstance(offsets, list) and len(offsets) == chunks:
        known = [place for each in offsets if (place := integer({"": each}, "")) is not None]
        if len(known) == chunks:
            return array("q", [later - earlier for earlier, later in pairwise(known)])
    return None


def _gaps_before(tokens: Sequence[_Token]) -> array[int]:
    return array("q", [integer(token.attributes, signals.AT_GAP_US) or 0 for token in tokens])


def _fields(tokens: Sequence[_Token]) -> tuple[Field, ...]:
    of_field: dict[str, list[_Token]] = {}
    hidden: dict[str, bool] = {}
    before: Attributes = {}
    for token in tokens:
        event = token.attributes
        name = text(event, signals.AT_FIELD) if signals.AT_FIELD in event else None
        if name is not None:
            # A mixed event may hold the beginning of the field that follows it.
            hidden.setdefault(name, before.get(signals.AT_KIND) == "mixed")
            of_field.setdefault(name, []).append(token)
        before = event
    return tuple(
        Field(
            name,
            None if hidden[name] else _ms(found[0].offset_us),
            found[-1].offset_us / 1e3,
            sum(integer(token.attributes, signals.AT_CHARS) or 0 for token in found),
            _gaps_within(found),
        )
        for name, found in of_field.items()
    )


def _gaps_within(tokens: Sequence[_Token]) -> array[int] | None:
    if any(token.chunks > 1 for token in tokens):
        return None
    return _gaps_before([token for token in tokens[1:] if token.chunks])


def _ms(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / 1e3


def _either(one: Any, other: Any) -> Any:
    return other if one is None else one
