"""Token events as log records while the stream runs, at most ten times a second a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber

from otel_tokenstream import signals
from otel_tokenstream.core import summary
from otel_tokenstream.core.event_text import Late, LiveText
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.redaction import kept_for
from otel_tokenstream.core.timeline import Row, Timeline, TokenEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry._logs import Logger

    from otel_tokenstream.core.generation import Generation, Request
    from otel_tokenstream.settings import Settings

_INTERVAL = 100_000_000
_MOST_AT_ONCE = 10
_UNBOUNDED = 1 << 30


class LiveLog:
    """One stream's log records. Rows of one kind and field that come within the interval share one.

    Where several kinds and fields come by turns, one record each takes as many intervals.
    """

    __slots__ = ("_due", "_labels", "_line", "_logger", "_reached", "_stalled_since", "_text", "text")

    def __init__(self, logger: Logger, call: Request, settings: Settings, labels: Mapping[str, Any]) -> None:
        self._logger = logger
        self.text = with_text = settings.content_on_events and settings.content_limit > 0
        self._text = LiveText(settings) if with_text else None
        self._labels = {
            signals.OPERATION_NAME: call.operation,
            signals.PROVIDER_NAME: call.provider,
            signals.REQUEST_MODEL: call.model,
            **labels,
        }
        self._due = 0
        self._reached: set[str] = set()
        self._stalled_since = 0
        self._line = Timeline(
            budget=_UNBOUNDED,
            stride=_UNBOUNDED,
            stall_threshold=settings.stall_threshold_ns,
            text_limit=kept_for(settings.redact, settings.content_limit) if with_text else 0,
        )

    def __call__(self, call: Generation, row: Row) -> None:
        line = self._line
        line.extend((row,))
        arrived = row[1]
        for name, at in (
            (signals.FIRST_TOKEN_EVENT, call.first_token),
            (signals.FIRST_ANSWER_TOKEN_EVENT, call.first_answer_token),
        ):
            if at is not None and name not in self._reached:
                self._reached.add(name)
                self._emit(call, summary.milestone_event(call, name, at))
        if arrived >= self._due:
            self._due = arrived + max(self.flush(call), 1) * _INTERVAL

    @guarded
    def stalled(self, call: Generation, since: int, at: int, phase: str) -> None:
        """Tell once of a read that is blocked right now; called while metrics are collected, on their thread."""
        if self._stalled_since != since:
            self._stalled_since = since
            self._emit(call, summary.pending_stall_event(call, self._line, since, at, phase))

    def flush(self, call: Generation) -> int:
        """Emit what waits for the interval to pass, and return how many records it took."""
        line, records = self._line, 0
        for event, text in _together(self._told()):
            self._emit(call, summary.token_event(call, event, text))
            records += 1
        for stall in line.stalls:
            if stall.arrived - stall.wait != self._stalled_since:
                self._emit(call, summary.stall_event(call, stall))
                records += 1
        line.events.clear()
        line.stalls.clear()
        return records

    def _told(self) -> Iterator[tuple[TokenEvent, str]]:
        """Yield what came, with its text, in its order: the text of a run that was merged before would be mixed up."""
        for event in self._line.events:
            yield from ((event, ""),) if self._text is None else self._text.events(event)

    def close(self, call: Generation) -> None:
        """Emit the rest, with what is known only at the end."""
        if call.last_read is not None:
            asked, returned, token_awaited = call.last_read
            self._line.blocked(asked, returned, token_awaited=token_awaited)
        self.flush(call)
        for rest, text in () if self._text is None else self._text.close(self._line.text_missing, self._line.text_torn):
            self._emit(call, summary.token_event(call, rest, text))
        for event in summary.attempt_events(call):
            self._emit(call, event)

    def _emit(self, call: Generation, event: summary.Event) -> None:
        name, at, attributes = event
        self._logger.emit(
            LogRecord(
                timestamp=call.anchor + at - call.started,
                context=call.context,
                severity_number=SeverityNumber.INFO,
                event_name=name,
                attributes={**attributes, **self._labels},
            )
        )


def _together(told: Iterable[tuple[TokenEvent, str]]) -> Iterable[tuple[TokenEvent, str]]:
    """Merge what is of one kind and field, in the order of their first chunks; of very many the last are mixed.

    The text of a kind and field is with the first event that has some, which may be one of its own.
    """
    found: dict[tuple[str, str | None], TokenEvent] = {}
    carriers: dict[tuple[str, str | None], TokenEvent] = {}
    texts: dict[TokenEvent, str] = {}
    for event, text in told:
        key = (event.kind, event.field)
        if key not in found and len(found) == _MOST_AT_ONCE:
            key = next(reversed(found))
        late = isinstance(event, Late)
        if not late and key in found:
            found[key].merge(event)
        elif not late:
            found[key] = event
            texts[event] = ""
        if text:
            carrier = carriers.setdefault(key, event if late else found[key])
            texts[carrier] = texts.get(carrier, "") + text
    return texts.items()
