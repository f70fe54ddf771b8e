"""Calls that have not ended: the one place that says whether a call may still be ended.

Removal is the end: whoever removes a call ends it, so it ends once. Calls of the parent
process are forgotten in a forked child, which therefore never reports them a second time.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

from otel_tokenstream.core.call.dropping import dropped
from otel_tokenstream.core.runtime import finalizers
from otel_tokenstream.core.runtime.forking import after_fork
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.call.dropping import Endable

# Of very many calls that were dropped at once a new one, which is the program's own time, ends a few.
_AT_A_START = 8
_THREADS = 256

_open: dict[int, Endable] = {}
_postponed: deque[tuple[Endable, str, BaseException | None, int]] = deque()
_collecting = finalizers.collecting
_newest: dict[int, weakref.ref[Endable]] = {}
_at_exit: list[Callable[[], object]] = []


def add(call: Endable) -> None:
    if dropped or _postponed:
        finish_dropped(_AT_A_START)
    if len(_newest) > _THREADS:
        _newest.clear()
    _newest[threading.get_ident()] = weakref.ref(call)
    _open[id(call)] = call


def newest(since: int) -> Endable | None:
    """Return the call that this thread has begun last, if it was after ``since``."""
    known = _newest.get(threading.get_ident())
    call = known() if known is not None else None
    return call if call is not None and call.started >= since else None


def is_open(call: Endable) -> bool:
    return id(call) in _open


def remove(call: Endable) -> bool:
    """Return whether the call was open until now."""
    return _open.pop(id(call), None) is not None


def put_back(call: Endable, outcome: str, error: BaseException | None, at: int) -> None:
    """Note a call whose end was interrupted, by a signal handler that raises: what is left of it is done later."""
    _open[id(call)] = call
    _postponed.append((call, outcome, error, at))


def snapshot() -> list[Endable]:
    # list() of a dict's values is one step for other threads; iterating it is not.
    return list(_open.values())


def postponed(call: Endable, outcome: str, error: BaseException | None, at: int) -> bool:
    """Note the end of a call that comes while the cyclic collector runs, and return whether it does.

    The collector can run inside a lock of the SDK, and recording there would take the same lock
    a second time. It drops streams, closes pending reads, and runs what a generator does when
    it is closed.
    """
    if threading.get_ident() not in _collecting:
        return False
    _postponed.append((call, outcome, error, at))
    return True


def finish_dropped(at_most: int | None = None) -> None:
    """End the calls that the collector dropped, or that were noted while it ran."""
    # Inside the collector they would only be noted again.
    if threading.get_ident() in _collecting:
        return
    left = len(dropped) + len(_postponed) if at_most is None else at_most
    while left > 0:
        try:
            drop, at = dropped.popleft()
        except IndexError:
            break
        if drop.call is not None and is_open(drop.call):
            left -= 1
            drop.end_call(at)
    for _ in range(left):
        try:
            call, outcome, error, at = _postponed.popleft()
        except IndexError:
            return
        call.end(outcome, error, at)


def arm(flush: Callable[[], object]) -> None:
    """Run ``flush`` at exit, after all open calls were ended.

    Called when a span is recorded and not at import, and again for every further provider: exit
    handlers run last in, first out, and a provider's own, which shuts its exporters down, must
    come after ours.
    """
    if flush not in _at_exit:
        _at_exit.append(flush)
    atexit.unregister(_finish_all)
    atexit.register(_finish_all)


def disarm(flush: Callable[[], object]) -> None:
    if flush in _at_exit:
        _at_exit.remove(flush)


@guarded
def _finish_all() -> None:
    _collecting.clear()
    finish_dropped()
    for call in snapshot():
        call.end("abandoned")
    for flush in _at_exit:
        flush()


def _forget_parents_calls() -> None:
    _open.clear()
    _newest.clear()
    _collecting.clear()


after_fork(_forget_parents_calls)
