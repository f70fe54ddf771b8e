"""Token events as log records while the stream runs, at most ten times a second a stream.

What comes is told on the caller's thread; while nothing comes, ``log_watch`` looks at the stream from another one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber

from otel_tokenstream import signals
from otel_tokenstream.core.call.timeline import Row, Timeline
from otel_tokenstream.core.content.event_text import Late, LiveText
from otel_tokenstream.core.content.redaction import redaction_buffer_size, sanitize
from otel_tokenstream.core.emit import span_data
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry._logs import Logger

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.call.timeline_events import Key, TimelineEvent
    from otel_tokenstream.settings import Settings

_INTERVAL = 100_000_000
_MOST_AT_ONCE = 10
_UNBOUNDED = 1 << 30


class LiveLog:
    """One stream's log records. Rows of one kind, field and tool call that come within the interval share one.

    Where several come by turns, one record each takes as many intervals.
    """

    __slots__ = (
        "_closed",
        "_due",
        "_first_token_threshold",
        "_labels",
        "_line",
        "_lock",
        "_logger",
        "_reached",
        "_redact",
        "_stall_threshold",
        "_stalled_since",
        "_text",
        "text",
    )

    def __init__(self, logger: Logger, call: Request, settings: Settings, labels: Mapping[str, Any]) -> None:
        self._logger = logger
        self._redact = settings.redact
        # A signal handler may stream too, in the midst of a row.
        self._lock = threading.RLock()
        self._closed = False
        self._stall_threshold = settings.stall_threshold_ns
        self._first_token_threshold = settings.first_token_threshold_ns
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
            text_limit=redaction_buffer_size(settings.redact, settings.content_limit) if with_text else 0,
        )

    def __call__(self, call: ModelCall, row: Row) -> None:
        with self._lock:
            self._line.extend((row,))
            arrived = row[1]
            self._reach_milestones(call)
            if arrived >= self._due:
                self._due = arrived + max(self._flush(call), 1) * _INTERVAL

    @guarded
    def look(self, call: ModelCall, at: int) -> None:
        """Tell how the call stands while nothing comes, on another thread than the call's."""
        with self._lock:
            if self._closed:
                return
            self._reach_milestones(call)
            line, read_started = self._line, call.read_started
            if read_started and call.opened and not line.chunks:
                self._reach(call, signals.FIRST_READ_EVENT, read_started)
            if line.events and at - line.last_arrived >= _INTERVAL:
                self._due = at + max(self._flush(call), 1) * _INTERVAL
            waiting = call.first_token is None
            threshold = self._first_token_threshold if waiting else self._stall_threshold
            since = call.started if waiting else read_started
            if read_started and 0 < threshold <= at - since:
                self.stalled(call, since, at, "first_token" if waiting else "tokens")

    @guarded
    def stalled(self, call: ModelCall, since: int, at: int, phase: str) -> None:
        """Tell once of a read that is blocked right now, on another thread than the call's."""
        with self._lock:
            if self._stalled_since != since and not self._closed:
                self._stalled_since = since
                self._emit(call, span_data.pending_stall_event(call, self._line, since, at, phase))

    def forked(self) -> None:
        """Let go of a lock that another thread of the parent may hold."""
        self._lock = threading.RLock()

    def _reach_milestones(self, call: ModelCall) -> None:
        if call.request.stream:
            self._reach(call, signals.START_EVENT, call.started)
            if call.opened:
                self._reach(call, signals.OPENED_EVENT, call.opened)
        for name, at in (
            (signals.FIRST_TOKEN_EVENT, call.first_token),
            (signals.FIRST_ANSWER_TOKEN_EVENT, call.first_answer_token),
        ):
            if at is not None and name not in self._reached:
                self._reached.add(name)
                self._emit(call, span_data.milestone_event(call, name, at))

    def _reach(self, call: ModelCall, name: str, at: int) -> None:
        if name not in self._reached:
            self._reached.add(name)
            self._emit(call, span_data.milestone_event(call, name, (at, 0, 0)))

    def _flush(self, call: ModelCall) -> int:
        """Emit what waits for the interval to pass, and return how many records it took."""
        line, records = self._line, 0
        for event, text in _together(self._told()):
            self._emit(call, self._token_event(call, event, text))
            records += 1
        for stall in line.stalls:
            self._emit(call, span_data.stall_event(call, stall))
            records += 1
        line.clear_events()
        line.stalls.clear()
        return records

    def _told(self) -> Iterator[tuple[TimelineEvent, str]]:
        """Yield what came, with its text, in its order: the text of a run that was merged before would be mixed up."""
        for event in self._line.events:
            yield from ((event, ""),) if self._text is None else self._text.events(event)

    def close(self, call: ModelCall) -> None:
        """Emit the rest, with what is known only at the end."""
        with self._lock:
            self._closed = True
            self._reach_milestones(call)
            if call.last_read is not None:
                read_started, returned, token_awaited = call.last_read
                self._line.blocked(read_started, returned, token_awaited=token_awaited)
            self._flush(call)
            torn = self._line.text_torn
            for rest, text in () if self._text is None else self._text.close(self._line.text_missing, torn):
                self._emit(call, self._token_event(call, rest, text))
            for event in span_data.attempt_events(call):
                self._emit(call, event)

    def _token_event(self, call: ModelCall, event: TimelineEvent, text: str) -> span_data.EventData:
        name, at, attributes = span_data.token_event(call.started, event, text)
        # Not on spans, where ids would take the place of further events: some are kilobytes long.
        if self.text and event.tool is not None and event.tool.call_id:
            attributes[signals.AT_TOOL_CALL_ID] = sanitize(event.tool.call_id, self._redact)
        return name, at, attributes

    def _emit(self, call: ModelCall, event: span_data.EventData) -> None:
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


def _together(told: Iterable[tuple[TimelineEvent, str]]) -> Iterable[tuple[TimelineEvent, str]]:
    """Merge what is of one run, in the order of their first chunks; of very many the last are mixed.

    The text of a run is with the first event that has some, which may be one of its own.
    """
    found: dict[Key, TimelineEvent] = {}
    carriers: dict[Key, TimelineEvent] = {}
    texts: dict[TimelineEvent, str] = {}
    for event, text in told:
        key = event.key
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
