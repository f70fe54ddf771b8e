"""Live events, which receivers get while tokens arrive. They carry text only where the receiver asked for it.

Times are integers: ``at_ns`` in ns of the wall clock, offsets, gaps and waits in µs. A count
that was not reported is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.trace import SpanContext

from otel_tokenstream.core.content.redaction import sanitize, sanitize_attributes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.emit.observers import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Common part of every event: its stream or step, its time and its correlation."""

    type: ClassVar[str] = ""

    stream_id: str
    """Of the stream or step: its span's id in hex, or as many random digits where no span has one of its own."""
    trace_id: str
    """In hex; empty where there is no trace."""
    parent_id: str
    """Id of the span it is under, in hex; empty at the top."""
    at_ns: int
    operation: str
    """The program's own name, from ``correlate`` or ``step``; else the kind of call (chat, ...), or the step's name."""
    model: str
    """Empty for a step, as is ``provider``."""
    provider: str
    correlation: Mapping[str, str]
    """Values given to ``correlate`` and baggage that the settings list, by name; redacted, if there is a hook."""

    @property
    def span_context(self) -> SpanContext:
        """Of the stream's or step's span, to link others to it; not valid where there is no trace."""
        return SpanContext(int(self.trace_id or "0", 16), int(self.stream_id, 16), is_remote=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartEvent(Event):
    """A call starts."""

    type: ClassVar[str] = "start"

    stream: bool
    """Whether tokens will come; a plain call has a start and an end only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent(Event):
    """Content of one chunk, of one field or tool call.

    Where a redaction hook withholds text until it has seen enough, ``text`` is empty at first
    and what was withheld comes later, at the latest in an event of its own that counts no
    character. Put together in order, the texts of a field or tool call are its redacted text.
    """

    type: ClassVar[str] = "token"

    text: str | None
    """None where text was not asked for, or is not to be had."""
    field: str | None
    """Output field of the program; None for text of no field."""
    index: int
    """Position among the events of this field in this stream, from 0, without holes."""
    kind: str
    """text, reasoning, tool_call, refusal, image, audio, video, tool_result, other.

    It is empty for a chunk that brings only the finish reason.
    """
    chars: int
    """Characters the model generated; text that a hook changed may have more or fewer."""
    chunk: int
    """Position of the chunk in the stream, from 0."""
    offset_us: int
    """Arrival since the call."""
    gap_us: int
    """Arrival to arrival; 0 for the first chunk and for a further field of one chunk, as is the wait for the latter."""
    wait_us: int
    """Time the read was blocked on the provider."""
    finish_reason: str | None
    """Where it came before or with this content; ``EndEvent`` has it in any case."""
    tool_call: int | None = None
    """Of a piece of a tool call: which one of the stream it is, from 0, in the order in which they began."""
    tool_call_id: str | None = None
    """The model's id of that call; None where it has none, or none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StallEvent(Event):
    """A read that is silent right now for longer than its threshold; seen when metrics are collected."""

    type: ClassVar[str] = "stall"

    wait_us: int
    """So far."""
    phase: str
    """first_token or tokens: the content that the read waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent(Event):
    """The last event of its stream."""

    type: ClassVar[str] = "end"

    outcome: str
    """completed, failed, cancelled, closed or abandoned."""
    error_type: str | None
    finish_reason: str | None
    chunks: int
    input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    duration_us: int
    first_token_us: int | None
    """Time from the call to the first generated content; None if there was none."""
    opening_us: int | None = None
    """Time within the call that opened the stream; None if the call was not streamed."""
    dropped: int
    """Events of this stream that were lost on the way to this one receiver, which was too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent(Event):
    """Common part of the events of a step."""

    type: ClassVar[str] = "step"

    name: str
    """The step's; of a ``StepNote`` the name of what happened in it."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStart(StepEvent):
    """A step starts."""

    type: ClassVar[str] = "step_start"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNote(StepEvent):
    """An event that the program added to the step's span."""

    type: ClassVar[str] = "step_event"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd(StepEvent):
    """A step ends."""

    type: ClassVar[str] = "step_end"

    duration_us: int
    error_type: str | None


def about(origin: Origin) -> dict[str, Any]:
    """Return what all events of a stream or step have in common, by the names of their fields."""
    return {
        "stream_id": origin.stream_id,
        "trace_id": origin.trace_id,
        "parent_id": origin.parent_id,
        "operation": sanitize(origin.operation, origin.redact if origin.named else None),
        "model": origin.model,
        "provider": origin.provider,
        "correlation": sanitize_attributes(origin.correlation, origin.redact),
    }


TYPES: dict[str, type[Event]] = {
    each.type: each for each in (StartEvent, TokenEvent, StallEvent, EndEvent, StepStart, StepNote, StepEnd)
}
"""Every event class by its ``type``."""
