"""Calls that have not ended: the one place that says whether a call may still be ended.

Removal is the end: whoever removes a call ends it, so it ends once. Calls of the parent
process are forgotten in a forked child, which therefore never reports them a second time.
"""

from __future__ import annotations

import atexit
import gc
import threading
from collections import deque
from typing import TYPE_CHECKING

from otel_tokenstream.core.forking import after_fork
from otel_tokenstream.core.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.generation import Generation

# Of very many calls that were dropped at once a new one, which is the program's own time, ends a few.
_AT_A_START = 8

_open: dict[int, Generation] = {}
_dropped: deque[tuple[Generation, str, BaseException | None, int]] = deque()
_collecting: set[int] = set()
_at_exit: list[Callable[[], object]] = []


def add(call: Generation) -> None:
    if _dropped:
        finish_dropped(_AT_A_START)
    _open[id(call)] = call


def remove(call: Generation) -> bool:
    """Whether the call was open until now."""
    return _open.pop(id(call), None) is not None


def snapshot() -> list[Generation]:
    # list() of a dict's values is one step for other threads; iterating it is not.
    return list(_open.values())


def postponed(call: Generation, outcome: str, error: BaseException | None, at: int) -> bool:
    """Note the end of a call that comes while the cyclic collector runs, and return whether it does.

    The collector can run inside a lock of the SDK, and recording there would take the same lock
    a second time. It drops streams, closes pending reads, and runs what a generator does when
    it is closed.
    """
    if threading.get_ident() not in _collecting:
        return False
    _dropped.append((call, outcome, error, at))
    return True


def finish_dropped(at_most: int | None = None) -> None:
    """End the calls that were noted while the collector ran."""
    # What the collector runs itself would only note them again.
    if threading.get_ident() in _collecting:
        return
    for _ in range(len(_dropped) if at_most is None else at_most):
        try:
            call, outcome, error, at = _dropped.popleft()
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
    # A signal handler that raises can have kept the end of a collection from being noted.
    _collecting.clear()
    finish_dropped()
    for call in snapshot():
        call.end("abandoned")
    for flush in _at_exit:
        flush()


def _forget_parents_calls() -> None:
    _open.clear()
    _collecting.clear()


def _note_collection(phase: str, _: dict[str, int]) -> None:
    if phase == "start":
        _collecting.add(threading.get_ident())
    else:
        _collecting.discard(threading.get_ident())


gc.callbacks.append(_note_collection)
after_fork(_forget_parents_calls)
