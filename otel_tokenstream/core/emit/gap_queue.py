"""Gaps of finished streams that wait to be recorded in a histogram.

They wait as bucket counts and are recorded while metrics are collected, many at once, in
portions with pauses, so that no thread waits long for the interpreter.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.gap_histogram import gaps
from otel_tokenstream.core.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.context import Context

    from otel_tokenstream.core.emit.bulk_histogram import Values

    # values in s, attributes, context
    Record = Callable[[Values, dict[str, Any], Context | None], None]

_LONGEST = 1_000
_PORTION = 1_000
_PAUSE = 0.001


class _Waiting:
    """The gaps of one stream: how many fell into each bucket, and their exact sum in ns."""

    __slots__ = ("attributes", "context", "counts", "total")

    def __init__(self, attributes: dict[str, Any], counts: Counter[int], total: int, context: Context | None) -> None:
        self.attributes = attributes
        self.counts = counts
        self.total = total
        self.context = context


class GapQueue:
    """A bounded queue. Beyond its length streams are joined by attributes: no gap is lost, only links to traces."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._queue: deque[_Waiting] = deque()
        self._draining = threading.Lock()
        forking.look_after(self)

    def add(self, attributes: dict[str, Any], counts: dict[int, int], total: int, context: Context) -> None:
        if len(self._queue) >= _LONGEST:
            self._join()
        self._queue.append(_Waiting(attributes, Counter(counts), total, context))

    def locks(self) -> list[threading.Lock]:
        """Return what is held while a histogram's lock may be, which a forked child must not inherit taken."""
        return [self._draining]

    def forked(self) -> None:
        """Drop everything: the parent records it, and may have held the lock for too long to be waited for."""
        self._queue.clear()
        self._draining = threading.Lock()

    def drain(self, *, within: float, pausing: bool) -> bool:
        """Record for at most ``within`` seconds and return whether nothing is left; a rest stays queued."""
        deadline = time.monotonic() + within
        # With several readers one drains and the others collect what is there.
        if not self._draining.acquire(timeout=0 if pausing else within):
            return False
        try:
            while self._queue and not forking.under_way() and time.monotonic() < deadline:
                waiting = self._queue.popleft()
                if not self._replay(waiting, deadline, pausing=pausing):
                    self._queue.appendleft(waiting)
        finally:
            self._draining.release()
        return not self._queue

    def _replay(self, waiting: _Waiting, deadline: float, *, pausing: bool) -> bool:
        """Return whether all was recorded; what was is taken off."""
        recorded = 0.0
        for portion in _portions(list(gaps(waiting.counts, waiting.total))):
            if recorded:
                if forking.under_way() or time.monotonic() >= deadline:
                    waiting.counts = +waiting.counts
                    waiting.total -= round(recorded)
                    return False
                if pausing:
                    time.sleep(_PAUSE)
            self._record([(gap / 1e9, count) for _, gap, count in portion], waiting.attributes, waiting.context)
            for bucket, gap, count in portion:
                waiting.counts[bucket] -= count
                recorded += gap * count
        return True

    def _join(self) -> None:
        joined: dict[tuple[tuple[str, Any], ...], _Waiting] = {}
        for _ in range(len(self._queue)):
            try:
                each = self._queue.popleft()
            except IndexError:  # another thread drains
                break
            key = tuple(each.attributes.items())
            if key in joined:
                joined[key].counts.update(each.counts)
                joined[key].total += each.total
            else:
                each.context = None
                joined[key] = each
        self._queue.extend(joined.values())


def _portions(counted: list[tuple[int, float, int]]) -> Iterator[list[tuple[int, float, int]]]:
    """Split (bucket, gap, count) into lists whose counts are ``_PORTION`` in all, at most."""
    portion: list[tuple[int, float, int]] = []
    room = _PORTION
    for bucket, gap, count in counted:
        left = count
        while left:
            taken = min(left, room)
            portion.append((bucket, gap, taken))
            left -= taken
            room -= taken
            if not room:
                yield portion
                portion, room = [], _PORTION
    if portion:
        yield portion
