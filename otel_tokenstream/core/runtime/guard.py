"""Faults of ours stay ours: logged once, counted, never raised into the user's program.

What a signal handler of the program raises while our code runs is no fault of ours, and reaches the program.
"""

from __future__ import annotations

import logging
import signal
import traceback
from collections import Counter
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from otel_tokenstream.core.runtime.sanitize import repaired

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

R = TypeVar("R")

_logger = logging.getLogger(__name__)
_seen: set[tuple[str, str]] = set()

# Faults by class name, read by the counter tokenstream.faults when metrics are collected.
# Counting through an instrument here could fail for the very reason that brought us here.
faults: Counter[str] = Counter()

# Public entries of libraries that no patch sees, by library and entry, read by tokenstream.seams.missing.
unseen: dict[tuple[str, str], int] = {}

# Among the attributes of an exception that is raised a second time, without the traceback it had.
_RAISED_AGAIN = "_otel_tokenstream_raised_again"


def fault(where: str, error: BaseException) -> None:
    """Log a fault of this package once for its place and class, and count it.

    Raises:
        BaseException: ``error`` itself, where a signal handler raised it.

    """
    pass_on(error)
    name = repaired(type(error).__qualname__)
    faults[name] += 1
    if (where, name) not in _seen:
        _seen.add((where, name))
        _logger.warning(
            "otel-tokenstream failed in %s and goes on without it; the program is not affected. "
            "Further faults of this kind are only counted (tokenstream.faults).\n%s%s",
            where,
            # Without the error's text: it may quote a prompt or an answer, and logs may be exported.
            "".join(traceback.format_tb(error.__traceback__)),
            name,
        )


def pass_on(error: BaseException) -> None:
    """Raise an exception again that a signal handler raised: Celery's soft time limit, say, or a timeout."""
    if is_of_signal_handler(error):
        raise error


def without_traceback(error: BaseException) -> BaseException:
    """Take the traceback of a signal handler's exception away, whose frames keep objects alive."""
    vars(error)[_RAISED_AGAIN] = True
    error.__traceback__ = error.__context__ = None
    return error


def is_of_signal_handler(error: BaseException) -> bool:
    """Return whether a signal handler raised it: a function called with a signal's number and its frame."""
    if _RAISED_AGAIN in vars(error):
        return True
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        interrupted, step = step.tb_frame, step.tb_next
        code = step.tb_frame.f_code
        taken = [step.tb_frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount + 2]]
        given = [*taken, *(each for value in taken if type(value) is tuple for each in value)]
        if any(each is interrupted for each in given) and any(_is_signal(each) for each in given):
            return True
    return False


def _is_signal(value: object) -> bool:
    return type(value) in (int, signal.Signals) and value in signal.valid_signals()


def guarded(function: Callable[P, R]) -> Callable[P, R | None]:
    """Make a function of ours return None instead of raising."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return attempt(function, *args, **kwargs)

    return call


def attempt(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Call a function of ours and return None where it raises; for a single call, quicker than to wrap it."""
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  # that is the purpose
        fault(function.__qualname__, error)
        return None
