from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import ContextVar

T = TypeVar("T")


@contextmanager
def held(variable: ContextVar[Any], value: T) -> Iterator[T]:
    """Hold a value in a context variable."""
    token = variable.set(value)
    try:
        yield value
    finally:
        # A coroutine that is dropped unwinds in whatever context it is dropped in: nothing of ours is there.
        with suppress(ValueError):
            variable.reset(token)
