"""Code for places where Python discards exceptions, composed of functions that are written in C.

In a finalizer, in the callback of a weak reference and in ``gc.callbacks`` Python discards
exceptions ("Exception ignored in ..."), and it calls the handlers of pending signals at the first
bytecode that runs there. What they raise is lost: Ctrl-C, SystemExit on SIGTERM, a timeout.
Functions written in C run no bytecode, so signals stay pending until the program goes on.
"""

from __future__ import annotations

import gc
import operator
import threading
import weakref
from functools import partial
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any, TypeVar

from otel_tokenstream.core.runtime.guard import without_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Key = TypeVar("_Key")

# Threads in which the cyclic collector runs right now.
collecting: set[int] = set()


def calling(function: Callable[..., object], *values: Iterator[Any]) -> property:
    """Return an attribute that calls a function with the next of ``values`` each time it is read."""
    return property(partial(next, map(function, *values)))


def results(function: Callable[[], Any]) -> Iterator[Any]:
    """Return an iterator over the results of calling a function, without end."""
    return starmap(function, repeat(()))


class _Phases:
    start = calling(collecting.add, results(threading.get_ident))
    stop = calling(collecting.discard, results(threading.get_ident))


# The collector calls it with the name of the phase and a dictionary, which getattr() takes for its default.
gc.callbacks.append(partial(getattr, _Phases()))


def forget(mapping: dict[_Key, Any], key: _Key) -> Callable[[object], object]:
    """Return a weak reference's callback that removes an item, if it is there."""
    return partial(mapping.pop, key)


class _Last:
    """Calls a function when it is released, by a weak reference to itself."""

    __slots__ = ("__weakref__", "callback")
    callback: object


def raise_after(error: BaseException) -> object:
    """Return an object whose release raises ``error`` in this thread, with the next bytecode that runs.

    For exceptions that were caught in a finalizer, where raising them again would lose them. Returns
    None where the interpreter has no asynchronous exceptions.
    """
    try:
        from ctypes import c_ulong, py_object, pythonapi  # noqa: PLC0415  # seldom needed

        raise_in_thread = pythonapi["PyThreadState_SetAsyncExc"]
    except (ImportError, AttributeError):
        return None
    # An asynchronous exception is a class, which Python calls once it raises it. This one returns the exception that
    # there is. It has its class as base because Python 3.10 compares classes in an except clause. A traced program
    # calls it twice unless it takes the exception for one of its own: the second time it would be given the first.
    returns_error = staticmethod(partial(next, repeat(without_traceback(error))))
    takes_any = type("takes_any", (type(type(error)),), {"__subclasscheck__": operator.truth})
    raised = takes_any(type(error).__name__, (type(error),), {"__new__": returns_error})
    arguments = c_ulong(threading.get_ident()), py_object(raised)
    last = _Last()
    last.callback = weakref.ref(last, partial(next, starmap(raise_in_thread, [arguments])))
    return last
