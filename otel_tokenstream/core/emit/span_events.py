"""Add many events to a span that is about to end.

``add_event`` checks and copies the attributes of each event, and making the events takes longer than
all else at the end of a stream. The SDK's span therefore gets a list that makes them when it is first
read: usually by the thread that exports the span. Attributes that are made here need no check. Spans
of other implementations, and limits that would change an event, take the public call at once.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from otel_tokenstream.core.runtime.guard import fault

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.trace import Span

    # name, time in ns of the wall clock, attributes that nobody else holds
    Event = tuple[str, int, dict[str, Any]]


# Of the SDK's bounded list.
_FIELDS = {"_dq", "_lock", "dropped"}


class Events(Protocol):
    """Events that are made when they are read: the same ones each time, in any thread."""

    most_attributes: int

    def __len__(self) -> int: ...

    def made(self) -> Iterable[Event]: ...


def add_events(span: Span, events: Events) -> None:
    """Add events in their order, with the effect of as many calls of ``span.add_event``.

    The caller ends the span next.
    """
    sdk: Any = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None or events.most_attributes > _most_attributes(sdk, span) or not _put(sdk, span, events):
        for name, at, attributes in events.made():
            span.add_event(name, attributes, at)


def _most_attributes(sdk: Any, span: Any) -> int:
    """Return how many attributes an event may have that the SDK would take as they are."""
    limits = getattr(span, "_limits", None)
    if type(span).__module__ != sdk.__name__ or getattr(limits, "max_attribute_length", 0) is not None:
        return -1
    most: int | None = getattr(limits, "max_event_attributes", -1)
    return sys.maxsize if most is None else most


def _put(sdk: Any, span: Any, events: Events) -> bool:
    """Return whether the span is built as it is known here, and has the events."""
    before: Any = getattr(span, "_events", None)
    known = (
        type(before).__name__ == "BoundedList"
        and vars(before).keys() == _FIELDS
        and isinstance(before._dq, deque)  # noqa: SLF001
        and hasattr(sdk, "Event")
        and hasattr(span, "_lock")
        and hasattr(span, "_end_time")
    )
    if not known:
        return False
    with span._lock:  # noqa: SLF001
        if span._end_time is not None:  # noqa: SLF001  # the public call says so
            return False
        span._events = _list_class(before.__class__)(before, events, sdk.Event)  # noqa: SLF001
    return True


@cache
def _list_class(base: Any) -> Any:
    """Return a class of the SDK's bounded lists that are filled when they are first read."""

    class PendingEvents(base):  # type: ignore[misc]
        def __init__(self, before: Any, events: Events, make: Any) -> None:
            self._made: deque[Any] | None = None
            self._pending = before, events, make
            self._lock = before._lock  # noqa: SLF001
            self.dropped = before.dropped
            held, kept = before._dq, before._dq.maxlen  # noqa: SLF001
            if kept is not None:
                self.dropped += max(len(held) + len(events) - kept, 0)

        # All methods of the list come here. Two threads may make the events at once: they make the same ones.
        @property
        def _dq(self) -> deque[Any]:
            made = self._made
            if made is None:
                before, events, make = self._pending
                made = before._dq.copy()  # noqa: SLF001
                try:
                    made.extend([make(name, MappingProxyType(given), at) for name, at, given in events.made()])
                except Exception as problem:  # noqa: BLE001  # ours, not the exporter's
                    fault("making the events of a span", problem)
                self._made = made
            return made

        @_dq.setter
        def _dq(self, made: deque[Any]) -> None:
            self._made = made

    return PendingEvents
