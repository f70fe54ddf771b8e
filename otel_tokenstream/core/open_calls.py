"""Calls that have not ended: the one place that says whether a call may still be ended.

Removal is the end: whoever removes a call ends it, so it ends once. Calls of the parent
process are forgotten in a forked child, which therefore never reports them a second time.
"""

from __future__ import annotations

import atexit
import gc
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from otel_tokenstream.core.guard import faults, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.generation import Generation

_open: dict[int, Generation] = {}
_dropped: deque[tuple[Generation, str, BaseException | None, int]] = deque()
_collecting: set[int] = set()
_at_exit: list[Callable[[], object]] = []
_in_child: list[Callable[[], None]] = [faults.clear]
_around_fork: list[tuple[Callable[[], None], Callable[[], None]]] = []


def add(call: Generation) -> None:
    if _dropped:
        finish_dropped()
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


def finish_dropped() -> None:
    """End the calls that were noted while the collector ran."""
    while _dropped:
        try:
            call, outcome, error, at = _dropped.popleft()
        except IndexError:
            return
        call.end(outcome, error, at)


def arm(flush: Callable[[], object]) -> None:
    """Run ``flush`` at exit, after all open calls were ended.

    Called when the first span is recorded and not at import: exit handlers run last in, first
    out, and the provider's own, which shuts its exporters down, must come after ours.
    """
    if flush not in _at_exit:
        _at_exit.append(flush)
        # Once more for every further provider: its own handler was registered a moment ago.
        atexit.unregister(_finish_all)
        atexit.register(_finish_all)


def around_fork(hold: Callable[[], None], let_go: Callable[[], None]) -> None:
    """Run ``hold`` before each fork and ``let_go`` after it, in the parent and in the child."""
    _around_fork.append((hold, let_go))


def after_fork(forget: Callable[[], None]) -> None:
    """Run ``forget`` in a forked child, for state that is the parent's to report."""
    _in_child.append(forget)


@guarded
def _finish_all() -> None:
    finish_dropped()
    for call in snapshot():
        call.end("abandoned")
    for flush in _at_exit:
        flush()


def _hold() -> None:
    for hold, _ in _around_fork:
        guarded(hold)()


def _let_go() -> None:
    for _, let_go in _around_fork:
        guarded(let_go)()


def _forget_parents_calls() -> None:
    _let_go()
    _open.clear()
    _dropped.clear()
    _collecting.clear()
    for forget in _in_child:
        forget()


def _note_collection(phase: str, _: dict[str, int]) -> None:
    if phase == "start":
        _collecting.add(threading.get_ident())
    else:
        _collecting.discard(threading.get_ident())


gc.callbacks.append(_note_collection)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_forget_parents_calls)
