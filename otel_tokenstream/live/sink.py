"""Sinks, which receive live events, and the attachment between a sink and the streams.

A sink is called on a thread of its own, one event at a time and in order. It may block and it
may raise: that costs only itself, and what it calls is neither measured nor told. Between the
streams and the thread is a queue of bounded length; what does not fit is dropped, counted
(``tokenstream.live.dropped``) and told in the ``EndEvent`` of the stream it was missing from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from otel_tokenstream.core.emit import observers
from otel_tokenstream.live.event_queue import EventQueue, Wanted
from otel_tokenstream.live.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from otel_tokenstream.live.events import Event

CAPACITY = 10_000


class Sink(Protocol):
    """Takes events somewhere. It is called on a thread of its own, unless there is nothing but its end to tell.

    One that has connections may define ``forked()``, called in a child before its first event.
    One that collects events to send them together may define ``settle()``, called when there is
    nothing more to handle for now, and ``hurry(within)``, called by another thread: what is not
    sent ``within`` seconds from then is to be given up.
    """

    def handle(self, event: Event) -> None:
        """Take the next event; an error is logged once, and the events after it still come."""

    def close(self) -> None:
        """Finish: there are no more events. Must return in good time, also when the other side is gone."""


class Attachment:
    """A sink that is attached. As a context manager it is closed at the end."""

    def __init__(self, sink: Sink, queue: EventQueue) -> None:
        self._queue = queue
        self._worker = Worker(sink, queue)

    @property
    def dropped(self) -> int:
        """Events lost so far: the sink was too slow for them, or failed on them."""
        return self._queue.dropped

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until everything told so far was handled; return whether it was, within ``timeout`` seconds."""
        return self._worker.flush(timeout)

    def close(self, timeout: float = 2.0) -> bool:
        """Take no more events, wait for those taken and close the sink; return whether all that was in time."""
        return self._worker.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def attach(
    sink: Sink,
    *,
    fields: Collection[str] | None = None,
    operation: str | None = None,
    correlation: Mapping[str, str] | None = None,
    types: Collection[str] | None = None,
    text: bool = False,
    capacity: int = CAPACITY,
    name: str = "",
) -> Attachment:
    """Send the events of calls that start from now on to a sink.

    ``fields`` keeps tokens of these output fields only, ``types`` events of these types,
    ``operation`` and ``correlation`` those of calls and steps that have them. Without ``text``
    the events have no text. ``capacity`` is the number of chunks that may wait for the sink.
    ``name`` stands in ``tokenstream.live.dropped``; the sink's class name if it is empty.
    """
    wanted = Wanted.of(fields=fields, operation=operation, correlation=correlation, types=types)
    return Attachment(sink, EventQueue(wanted, name or type(sink).__name__, text=text, capacity=capacity))


def lost(sink_name: str, count: int = 1) -> None:
    """Count events that a sink itself had to give up, in ``tokenstream.live.dropped``."""
    observers.dropped[sink_name] += count
