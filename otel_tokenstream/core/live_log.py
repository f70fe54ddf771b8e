"""Token events as log records while the stream runs, at most ten times a second a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry._logs import LogRecord, SeverityNumber

from otel_tokenstream import signals
from otel_tokenstream.core import summary
from otel_tokenstream.core.timeline import Row, Timeline

if TYPE_CHECKING:
    from opentelemetry._logs import Logger

    from otel_tokenstream.core.generation import Generation, Request
    from otel_tokenstream.settings import Settings

_INTERVAL = 100_000_000
_UNBOUNDED = 1 << 30


class LiveLog:
    """One stream's log records. Rows of one kind and field that come within the interval share one."""

    __slots__ = ("_emitted", "_labels", "_line", "_logger", "_with_text")

    def __init__(self, logger: Logger, call: Request, settings: Settings) -> None:
        self._logger = logger
        self._with_text = settings.content_on_events
        self._labels = {
            signals.OPERATION_NAME: call.operation,
            signals.PROVIDER_NAME: call.provider,
            signals.REQUEST_MODEL: call.model,
        }
        self._emitted = 0
        self._line = Timeline(
            budget=_UNBOUNDED,
            stride=_UNBOUNDED,
            stall_threshold=settings.stall_threshold_ns,
            text_limit=settings.content_limit if self._with_text else 0,
        )

    def __call__(self, call: Generation, row: Row) -> None:
        line = self._line
        line.extend((row,))
        arrived = row[1]
        for name, at in (
            (signals.FIRST_TOKEN_EVENT, call.first_token),
            (signals.FIRST_ANSWER_TOKEN_EVENT, call.first_answer_token),
        ):
            if at is not None and at[0] == arrived and row[0]:
                self._emit(call, summary.milestone_event(call, name, at))
        if arrived - self._emitted >= _INTERVAL:
            self.flush(call)
            self._emitted = arrived

    def flush(self, call: Generation) -> None:
        """Emit what waits for the interval to pass."""
        line = self._line
        for event in line.events:
            self._emit(call, summary.token_event(call, event, with_text=self._with_text))
        for stall in line.stalls:
            self._emit(call, summary.stall_event(call, stall))
        line.events.clear()
        line.stalls.clear()

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
