"""Faults of ours stay ours: logged once, counted, never raised into the user's program."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from otel_tokenstream.core.text import repaired

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


def fault(where: str, error: BaseException) -> None:
    """Log a fault of this package once for its place and class, and count it."""
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


def guarded(function: Callable[P, R]) -> Callable[P, R | None]:
    """Make a function of ours return None instead of raising."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # that is the purpose
            fault(function.__qualname__, error)
            return None

    return call
