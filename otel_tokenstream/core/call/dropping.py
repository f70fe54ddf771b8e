"""The end of a call whose stream is dropped.

A stream that is released by its last reference ends its call at once. One that the cyclic
collector finds is only noted, by C code: the collector may run inside a lock of the SDK, and
recording there would take that lock a second time.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from otel_tokenstream.core.runtime.finalizers import calling, raise_after, results
from otel_tokenstream.core.runtime.guard import fault, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    # reads what is known only at the end, with the stream itself
    Closer = Callable[[Any], None]


class Endable(Protocol):
    """A model call, as far as its end goes. Times are ns of ``perf_counter_ns``; ``ended`` is 0 until the end."""

    drop: Any
    ended: int
    started: int

    def end(self, outcome: str, error: BaseException | None = None, at: int = 0, /) -> None:
        """End it once; later calls change nothing."""


_dropping: deque[Drop] = deque()
# Streams that were dropped, and when in ns of perf_counter_ns.
dropped: deque[tuple[Drop, int]] = deque()


class Drop(weakref.ref[Any]):
    """A weak reference to a proxy, held by its call, that notes in ``dropped`` that the proxy is gone."""

    __slots__ = ("call", "close")
    call: Endable | None
    close: Callable[[], object] | None

    _begin = property(_dropping.append)
    _note = calling(dropped.append, zip(results(_dropping.popleft), results(time.perf_counter_ns), strict=False))

    def end_call(self, at: int) -> None:
        """End the call, which a drop was noted for, unless ``close`` ends it."""
        call = self.call
        if call is not None:
            if self.close is not None:
                guarded(self.close)()
            call.end("abandoned", None, at)

    def cancel(self) -> None:
        """Watch no more: the call has ended."""
        self.call = self.close = None
        proxy = self()
        if proxy is not None:
            object.__setattr__(proxy, "_ts_watched", None)


_note_drop = attrgetter("_begin", "_note")


class _Release(weakref.ref[Any]):
    """A weak reference to a proxy that only the proxy holds: the collector clears both, without a call."""

    # Released in this order. ``then`` holds an exception that was caught: the stream is released before it, because
    # its own finalizers would lose the exception as well.
    __slots__ = ("arguments", "then")
    arguments: tuple[Endable, Closer | None, Any]
    then: object


def watch(
    proxy: Any, stream: Any, call: Endable, close: Closer | None, close_collected: Callable[[], object] | None
) -> None:
    """End the call when its proxy is dropped.

    ``close_collected`` stands in for ``close`` where the collector has found the stream, and must not hold it.
    """
    drop = Drop(proxy, _note_drop)
    drop.call, drop.close = call, close_collected
    if sys.version_info >= (3, 11):
        ending = _ending(call, close, stream)
        next(ending)
        release = _Release(proxy, ending.send)
        release.then = ending
    else:
        release = _Release(proxy, _released)
        release.arguments = call, close, stream
    object.__setattr__(proxy, "_ts_watched", release)
    call.drop = drop


if sys.version_info >= (3, 11):

    def _ending(call: Endable, close: Closer | None, stream: Any) -> Generator[None, Any, None]:
        # It waits inside the try block. A function can be interrupted at its first bytecode, which is in no block.
        try:
            yield
            _end(call, close, stream)
        except GeneratorExit:  # not dropped, or by the collector
            return
        except BaseException as error:  # noqa: BLE001  # a signal handler's, which Python would discard here
            last = raise_after(error)  # noqa: F841  # released with this generator
        yield

else:

    def _released(release: _Release) -> None:
        # Python 3.10 calls no signal handler right before a try block, but at each except clause that it enters,
        # as a generator would that waits in one.
        try:
            _end(*release.arguments)
        except BaseException as error:  # noqa: BLE001  # as above
            release.then = raise_after(error)


def _end(call: Endable, close: Closer | None, stream: Any) -> None:
    if not call.ended:
        try:
            read_rest(close, stream)
        finally:  # also where a signal handler raises
            call.end("abandoned")


def read_rest(close: Closer | None, stream: Any) -> None:
    """Read what is known only at the end."""
    try:
        if close is not None:
            close(stream)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("reading an ended stream", problem)
