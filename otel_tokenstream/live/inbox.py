"""Between the threads of the calls and the one reader of their events: a queue of bounded length."""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from otel_tokenstream.core import observers
from otel_tokenstream.live.events import TokenEvent
from otel_tokenstream.live.telling import Hole, Telling, is_told

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.observers import Origin
    from otel_tokenstream.core.timeline import Row
    from otel_tokenstream.live.events import Event

    # What makes the events, and of what: read on the reader's thread.
    Item = tuple[Callable[..., Iterator[Event]], tuple[Any, ...]]

UNBOUNDED = 1 << 62
# Starts, ends and steps are few, and worth more than one token among thousands.
_RESERVED = 1_000


@dataclass(frozen=True)
class Wanted:
    """What a reader wants to be told of; None is everything."""

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


class Reader(Protocol):
    """Who reads an inbox."""

    def ring(self) -> None:
        """Note that there is something to read; called on threads of the calls."""

    def flush(self, within: float) -> bool: ...

    def close(self, within: float) -> bool: ...

    def forked(self) -> None: ...


class Inbox:
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
        self._reader: Reader | None = None

    def open(self, reader: Reader | None) -> None:
        """Take the events of all calls that start from now on; without a reader they wait to be read."""
        self._reader = reader
        observers.add(self)

    def shut(self) -> None:
        """Take no more; what is there can still be read."""
        self.closed = True
        observers.remove(self)

    def watch(self, origin: Origin) -> Watch | None:
        return Watch(self, origin) if self._wanted.source(origin) else None

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
            self._reader.ring()
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
            self._reader.ring()

    def lose(self) -> None:
        self.dropped += 1
        observers.dropped[self._name] += 1

    def call(self, function: Callable[[], object]) -> None:
        """Have the reader call a function when everything before was read."""
        self._queue.put((_calling, (function,)))
        if self._reader is not None:
            self._reader.ring()

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


class Watch:
    """One call as one inbox sees it. Everything here runs on the caller's thread, between two chunks."""

    __slots__ = ("_dropped", "_hole", "_inbox", "_row", "_telling", "text")

    def __init__(self, inbox: Inbox, origin: Origin) -> None:
        self.text = inbox.text
        self._inbox = inbox
        self._telling = Telling(origin, text=inbox.text)
        self._row = self._telling.row
        self._dropped = 0
        self._hole: Hole | None = None

    def started(self, call: Generation) -> None:
        self._inbox.put(_starting, (self._telling, call.started, call.anchor, call.request.stream))

    def __call__(self, call: Generation, row: Row) -> None:
        reason = call.finish_reasons.get(0)
        if self._inbox.offer(self._row, (row, reason, self._hole)):
            self._hole = None
        else:
            self._lose(row, reason)

    def stalled(self, call: Generation, since: int, at: int, phase: str) -> None:
        del call
        self._inbox.put(self._telling.stall, (since, at, phase))

    def close(self, call: Generation) -> None:
        usage = call.usage if call.usage is not None and not call.usage.estimated else None
        facts = {
            "outcome": call.outcome,
            "error_type": call.error_type,
            "finish_reason": call.finish_reasons.get(0),
            "chunks": call.timeline.chunks,
            "input_tokens": usage and usage.input,
            "output_tokens": usage and usage.output,
            "reasoning_tokens": usage and usage.reasoning,
            "first_token_us": round((call.first_token[0] - call.started) / 1e3) if call.first_token else None,
            "dropped": self._dropped,
        }
        self._inbox.put(self._telling.end, (call.ended, facts, self._hole))

    def _lose(self, row: Row, reason: str | None) -> None:
        if self._hole is None:
            self._hole = Hole()
        if row[0]:
            self._hole.chunks += 1
            self._hole.arrived = row[1]
        if is_told(row, reason):
            self._dropped += 1
            self._inbox.lose()


def _starting(telling: Telling, started: int, anchor: int, stream: bool) -> Iterator[Event]:
    return telling.start(started, anchor, stream=stream)


def _once(event: Event) -> Iterator[Event]:
    yield event


def _calling(function: Callable[[], object]) -> Iterator[Event]:
    function()
    return iter(())
