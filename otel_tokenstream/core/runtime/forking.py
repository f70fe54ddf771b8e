"""Forks: a child must not inherit taken locks, nor the data that its parent reports."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from otel_tokenstream.core.runtime.guard import faults, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST_HOLD = 0.25


class Locked(Protocol):
    """Something with locks."""

    def locks(self) -> Iterable[Any]:
        """Return what is to be held while the process forks, so that a child inherits none that is taken."""

    def forked(self) -> None:
        """Forget in a child what is the parent's to report."""


_locked: dict[int, ref[Locked]] = {}
_forget: list[Callable[[], None]] = [faults.clear]
# By the thread that forks: several may at once.
_held: dict[int, list[Any]] = {}


def look_after(thing: Locked) -> None:
    """Hold the locks of a thing around each fork for as long as it is there."""
    from otel_tokenstream.core.runtime.finalizers import forget  # noqa: PLC0415  # most processes have nothing to look after

    _locked[id(thing)] = ref(thing, forget(_locked, id(thing)))


def _things() -> list[Locked]:
    return [thing for each in list(_locked.values()) if (thing := each()) is not None]


def after_fork(forgetting: Callable[[], None]) -> None:
    """Run ``forgetting`` in a forked child, for state that is the parent's to report."""
    _forget.append(forgetting)


def under_way() -> bool:
    """Return whether a thread forks, and waits for locks: their holders had better let go soon."""
    return bool(_held)


def _hold() -> None:
    held = _held[threading.get_ident()] = []
    deadline = time.monotonic() + _LONGEST_HOLD
    for thing in _things():
        known = guarded(thing.locks)() or ()
        held.extend(lock for lock in known if lock.acquire(timeout=max(deadline - time.monotonic(), 0)))


def _let_go() -> None:
    _release(_held.pop(threading.get_ident(), ()))


def _begin_anew() -> None:
    # In the child there is no other thread that would let go of what it holds.
    for held in _held.values():
        _release(held)
    _held.clear()
    for forgetting in [*_forget, *(thing.forked for thing in _things())]:
        guarded(forgetting)()


def _release(held: Iterable[Any]) -> None:
    for lock in held:
        guarded(lock.release)()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=guarded(_hold), after_in_parent=guarded(_let_go), after_in_child=guarded(_begin_anew))
