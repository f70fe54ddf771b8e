"""Texts of streams put together again from events that may come twice, in any order, or not at all."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from otel_tokenstream.live.events import EndEvent, TokenEvent
from otel_tokenstream.live.wire import ENDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.live.wire import Sent

_FINISHED_KEPT = 10_000


class StreamText:
    """One stream as far as it was read."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.end: EndEvent | None = None
        self._last: int | None = None
        self._seen: set[int] = set()
        # (field, kind, tool call, text) by the place in the stream
        self._pieces: dict[int, tuple[str | None, str, int | None, str]] = {}

    def text(self, field: str | None = None, kind: str = "text") -> str:
        """Return the text so far, in order: of one output field or of all, of one kind of content."""
        return "".join(
            text for name, what, _, text in self._in_order() if what == kind and (field is None or field == name)
        )

    @property
    def fields(self) -> dict[str, str]:
        """Text of each output field so far."""
        names = dict.fromkeys(name for name, *_ in self._in_order() if name is not None)
        return {name: self.text(name) for name in names}

    @property
    def tool_calls(self) -> dict[int, str]:
        """Arguments of each tool call so far, by its number in the stream."""
        found: dict[int, str] = {}
        for _, _, number, text in self._in_order():
            if number is not None:
                found[number] = found.get(number, "") + text
        return found

    @property
    def missing(self) -> int:
        """Events of this stream that were lost: before the broker or, up to the newest one seen, in it."""
        newest = self._last if self._last is not None else max(self._seen, default=-1)
        return newest + 1 - len(self._seen) + (self.end.dropped if self.end is not None else 0)

    @property
    def complete(self) -> bool:
        """Return whether the stream has ended and nothing of it is missing."""
        return self.end is not None and not self.missing

    def add(self, sent: Sent) -> bool:
        """Take an event in; return False if it was taken before."""
        if sent.seq in self._seen:
            return False
        self._seen.add(sent.seq)
        event = sent.event
        if isinstance(event, TokenEvent) and event.text:
            self._pieces[sent.seq] = (event.field, event.kind, event.tool_call, event.text)
        elif isinstance(event, ENDS):
            self._last = sent.seq
            self.end = event if isinstance(event, EndEvent) else None
        return True

    def _in_order(self) -> Iterator[tuple[str | None, str, int | None, str]]:
        # Sorting is linear where all came in order.
        return (self._pieces[seq] for seq in sorted(self._pieces))


class Held:
    """A stream that is not settled, with what its broker is to be told when it is."""

    __slots__ = ("tags", "text", "touched")

    def __init__(self, stream_id: str) -> None:
        self.text = StreamText(stream_id)
        self.tags: dict[Any, None] = {}
        self.touched = time.monotonic()


class Streams:
    """Unsettled streams, the longest untouched first, and the names of those settled last."""

    def __init__(self, expire: float, limit: int) -> None:
        self._expire = expire
        self._limit = limit
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._finished: OrderedDict[str, None] = OrderedDict()

    def get(self, stream_id: str) -> Held | None:
        return self._held.get(stream_id)

    def touch(self, stream_id: str) -> Held | None:
        """Return the stream that an event is of; None if it was settled, so that the event comes again."""
        if stream_id in self._finished:
            return None
        held = self._held.get(stream_id)
        if held is None:
            held = self._held[stream_id] = Held(stream_id)
        self._held.move_to_end(stream_id)
        held.touched = time.monotonic()
        return held

    def finish(self, stream_id: str) -> list[Any]:
        """Settle a stream and return what its broker is to be told."""
        held = self._held.pop(stream_id, None)
        self._finished[stream_id] = None
        if len(self._finished) > _FINISHED_KEPT:
            self._finished.popitem(last=False)
        return [] if held is None else list(held.tags)

    def drop(self, stream_id: str) -> None:
        """Forget a stream that will be read again from its beginning."""
        self._held.pop(stream_id, None)

    def untag(self) -> None:
        """Forget what is to be told to a broker that delivers everything unsettled again."""
        for held in self._held.values():
            held.tags.clear()

    def overdue(self) -> Iterator[str]:
        """Yield streams to be finished: nothing came of them for too long, or there is no room for them."""
        while self._held:
            stream_id, oldest = next(iter(self._held.items()))
            if len(self._held) <= self._limit and time.monotonic() - oldest.touched < self._expire:
                return
            yield stream_id
