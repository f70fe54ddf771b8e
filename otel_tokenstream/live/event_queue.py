"""Between the threads of the calls and the one reader of their events: a queue of bounded length."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from otel_tokenstream.core.emit import observers
from otel_tokenstream.live.event_builder import DroppedRange, EventBuilder, is_told
from otel_tokenstream.live.events import TokenEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.timeline import Row
    from otel_tokenstream.core.emit.observers import Origin
    from otel_tokenstream.live.events import Event

    # What makes the events, and of what: read on the reader's thread.
    Item = tuple[Callable[..., Iterator[Event]], tuple[Any, ...]]

UNBOUNDED = 1 << 62
# Starts, ends and steps are few, and worth more than one token among thousands.
_RESERVED = 1_000


@dataclass(frozen=True)
class Wanted:
    """The events that a reader wants; None is everything."""

    fields: frozenset[str] | None = None
    operation: str | None = None
    correlation: frozenset[tuple[str, str]] = frozenset()
    types: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        fields: Collection[str] | None = None,
        operation: str | None = None,
        correlation: Mapping[str, str] | None = None,
        types: Collection[str] | None = None,
    ) -> Wanted:
        for name, given in (("fields", fields), ("types", types)):
            if isinstance(given, str):
                message = f"{name} takes several names: [{given!r}], not {given!r}"
                raise TypeError(message)
        return cls(
            fields=None if fields is None else frozenset(fields),
            operation=operation,
            correlation=frozenset((correlation or {}).items()),
            types=None if types is None else frozenset(types),
        )

    def source(self, origin: Origin) -> bool:
        return (self.operation is None or self.operation == origin.operation) and (
            self.correlation <= origin.correlation.items()
        )

    def event(self, event: Event) -> bool:
        if self.types is not None and event.type not in self.types:
            return False
        return self.fields is None or not isinstance(event, TokenEvent) or event.field in self.fields


class QueueReader(Protocol):
    """What reads a queue, and is notified when the queue has events."""

    def notify(self) -> None:
        """Note that there is something to read; called on threads of the calls."""

    def flush(self, within: float) -> bool: ...

    def close(self, within: float) -> bool: ...

    def forked(self) -> None: ...


class EventQueue:
    """Takes what is wanted, until it is full, and gives it to its one reader as events."""

    def __init__(self, wanted: Wanted, name: str, *, text: bool, capacity: int) -> None:
        if capacity < 1:
            message = f"capacity is the number of chunks that may wait, 1 or more: got {capacity}"
            raise ValueError(message)
        self.text = text
        self.dropped = 0
        self.closed = False
        self._wanted = wanted
        self._name = name
        self._capacity = capacity
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._reader: QueueReader | None = None
        self._when_dropped: tuple[object, ...] = ()

    def open(self, reader: QueueReader | None) -> None:
        """Take the events of all calls that start from now on; without a reader they wait to be read."""
        self._reader = reader
        observers.add(self)

    def shut_with(self, holder: object) -> None:
        """Take no more when who reads is dropped, without Python code in a finalizer."""
        closing = weakref.ref(holder, partial(setattr, self, "closed"))
        self._when_dropped = (closing, observers.remove_with(holder, self))

    def shut(self) -> None:
        """Take no more; what is there can still be read."""
        self.closed = True
        observers.remove(self)

    def watch(self, origin: Origin) -> QueueWatch | None:
        return QueueWatch(self, origin) if self._wanted.source(origin) else None

    def tell(self, origin: Origin, event: Event) -> None:
        """Take an event that is made already, if it is wanted."""
        if self._wanted.source(origin):
            self.put(_once, (event,))

    def empty(self) -> bool:
        return self._queue.empty()

    def offer(self, make: Callable[..., Iterator[Event]], about: tuple[Any, ...]) -> bool:
        """Take a chunk, if there is room, and return whether there was."""
        if self.closed:
            return True
        if self._queue.qsize() >= self._capacity:
            return False
        self._queue.put((make, about))
        if self._reader is not None:
            self._reader.notify()
        return True

    def put(self, make: Callable[..., Iterator[Event]], about: tuple[Any, ...]) -> None:
        """Take what is no chunk, for which there is nearly always room."""
        if self.closed:
            return
        if self._queue.qsize() >= self._capacity + _RESERVED:
            self.lose()
            return
        self._queue.put((make, about))
        if self._reader is not None:
            self._reader.notify()

    def lose(self) -> None:
        self.dropped += 1
        observers.dropped[self._name] += 1

    def call(self, function: Callable[[], object]) -> None:
        """Have the reader call a function when everything before was read."""
        self._queue.put((_calling, (function,)))
        if self._reader is not None:
            self._reader.notify()

    def next(self) -> Iterator[Event]:
        """Wait for what comes next and yield its events."""
        make, about = self._queue.get()
        return self._made(make, about)

    def read(self) -> Iterator[Event]:
        """Yield what is there."""
        while True:
            try:
                make, about = self._queue.get_nowait()
            except Empty:
                return
            yield from self._made(make, about)

    def _made(self, make: Callable[..., Iterator[Event]], about: tuple[Any, ...]) -> Iterator[Event]:
        return (event for event in make(*about) if self._wanted.event(event))

    def flush(self, within: float) -> bool:
        return self._reader is None or self._reader.flush(within)

    def close(self, within: float) -> bool:
        return self._reader is None or self._reader.close(within)

    def forked(self) -> None:
        self._queue = SimpleQueue()
        self.dropped = 0
        if self._reader is not None:
            self._reader.forked()


class QueueWatch:
    """One call as one queue sees it. Everything here runs on the caller's thread, between two chunks."""

    __slots__ = ("_builder", "_dropped", "_dropped_range", "_queue", "_row", "text")

    def __init__(self, queue: EventQueue, origin: Origin) -> None:
        self.text = queue.text
        self._queue = queue
        self._builder = EventBuilder(origin, text=queue.text)
        self._row = self._builder.row
        self._dropped = 0
        self._dropped_range: DroppedRange | None = None

    def started(self, call: ModelCall) -> None:
        self._queue.put(_starting, (self._builder, call.started, call.anchor, call.request.stream))

    def __call__(self, call: ModelCall, row: Row) -> None:
        reason = call.finish_reasons.get(0)
        if self._queue.offer(self._row, (row, reason, self._dropped_range)):
            self._dropped_range = None
        else:
            self._lose(row, reason)

    def stalled(self, call: ModelCall, since: int, at: int, phase: str) -> None:
        del call
        self._queue.put(self._builder.stall, (since, at, phase))

    def close(self, call: ModelCall) -> None:
        usage = call.usage if call.usage is not None and not call.usage.estimated else None
        opening = call.opening if call.request.stream else None
        facts = {
            "outcome": call.outcome,
            "error_type": call.error_type,
            "finish_reason": call.finish_reasons.get(0),
            "chunks": call.timeline.chunks,
            "input_tokens": usage and usage.input,
            "output_tokens": usage and usage.output,
            "reasoning_tokens": usage and usage.reasoning,
            "first_token_us": round((call.first_token[0] - call.started) / 1e3) if call.first_token else None,
            "opening_us": round(opening / 1e3) if opening is not None else None,
            "dropped": self._dropped,
        }
        self._queue.put(self._builder.end, (call.ended, facts, self._dropped_range))

    def _lose(self, row: Row, reason: str | None) -> None:
        if self._dropped_range is None:
            self._dropped_range = DroppedRange()
        self._dropped_range.lose(row)
        if is_told(row, reason):
            self._dropped += 1
            self._queue.lose()


def _starting(builder: EventBuilder, started: int, anchor: int, stream: bool) -> Iterator[Event]:
    return builder.start(started, anchor, stream=stream)


def _once(event: Event) -> Iterator[Event]:
    yield event


def _calling(function: Callable[[], object]) -> Iterator[Event]:
    function()
    return iter(())
