"""The requests that litellm makes to answer one call: retries and fallbacks.

Every request passes through the function that litellm's decorator wraps. Where one of them
only hands on to another (an async one to its sync twin in an executor, a fallback list, a
bridge to another API) the innermost counts.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.current import reset
from otel_tokenstream.core.generation import Attempt, Generation, now
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.ownership import disowned, owner
from otel_tokenstream.fields.held import held
from otel_tokenstream.patches.litellm.source import note
from otel_tokenstream.patches.litellm.target import target_again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Token
    from types import TracebackType

    from otel_tokenstream.patches.litellm.entry import Entry

# An error that litellm deals with on a loop in another thread.
_carried_error: ContextVar[BaseException | None] = ContextVar("otel_tokenstream_litellm_error", default=None)
_current: ContextVar[_Trying | None] = ContextVar("otel_tokenstream_litellm_attempt", default=None)


def attempting(entry: Entry, original: Callable[..., Any]) -> Callable[..., Any]:
    """Record each run of a function as an attempt of the call it belongs to."""

    @wraps(original)
    def attempt(*args: Any, **kwargs: Any) -> Any:
        trying = _trying(entry, args, kwargs)
        if trying is None:
            return original(*args, **kwargs)
        with trying:
            result = original(*args, **kwargs)
            trying.gave(result)
        return result

    return attempt


def aattempting(entry: Entry, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a coroutine function."""

    @wraps(original)
    async def attempt(*args: Any, **kwargs: Any) -> Any:
        trying = _trying(entry, args, kwargs)
        if trying is None:
            return await original(*args, **kwargs)
        with trying:
            result = await original(*args, **kwargs)
            trying.gave(result)
        return result

    return attempt


@guarded
def _trying(entry: Entry, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Trying | None:
    call = owner()
    return None if call is None or not call.observed else _Trying(call, entry, args, kwargs)


@contextmanager
def apart() -> Iterator[None]:
    """Let calls made inside be the program's own, and no part of the one that litellm is making."""
    with disowned(), held(_current, None):
        yield


def handled_error() -> BaseException | None:
    """Return the error in mid-stream that litellm is dealing with right now, if any."""
    error = sys.exc_info()[1]
    while error is not None:
        if type(error).__name__ == "MidStreamFallbackError":
            original: BaseException | None = getattr(error, "original_exception", None)
            return original or error
        error = error.__context__
    return _carried_error.get()


def carrying() -> Callable[[], None]:
    """Return what makes another context know of the attempt, and of the error in mid-stream, of this one."""
    attempt, error = _current.get(), handled_error()

    def carry() -> None:
        _current.set(attempt)
        _carried_error.set(error)

    return carry


class _Trying:
    """One run; counts as an attempt unless a run inside it did."""

    __slots__ = ("_args", "_attempt", "_call", "_delegated", "_entry", "_handed_on", "_kwargs", "_outer", "_token")

    def __init__(self, call: Generation, entry: Entry, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._call = call
        self._entry = entry
        self._args = args
        self._kwargs = kwargs
        self._attempt: Attempt | None = None
        self._delegated = False  # a run inside this one was the real one
        self._handed_on = False  # this one only made a coroutine for the run around it

    def __enter__(self) -> None:
        started = now()
        self._outer = _current.get()
        self._token: Token[_Trying | None] = _current.set(self)
        self._begin(started)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        reset(_current, self._token)
        self._finish(kind)
        # litellm's background work has copied the context and with it this: what it held would keep
        # the stream, and its connection, when the caller drops it.
        del self._args, self._kwargs, self._token

    @guarded
    def gave(self, result: Any) -> None:
        """Take what the run returned."""
        self._handed_on = inspect.iscoroutine(result)
        note(self._call, result)

    @guarded
    def _begin(self, started: int) -> None:
        self._attempt = Attempt("", "", started)
        earlier, error = self._call.attempts, handled_error()
        if earlier and error is not None and earlier[-1].error_type is None:
            # It gave a stream that broke before anybody saw it.
            earlier[-1].error_type = type(error).__qualname__

    @guarded
    def _finish(self, kind: type[BaseException] | None) -> None:
        attempt = self._attempt
        if self._handed_on or attempt is None:
            return
        if self._outer is not None:
            self._outer._delegated = True  # noqa: SLF001  # its own class
        if self._delegated:
            return
        attempt.ended = now()
        target = target_again(self._entry.asked(self._args, self._kwargs))
        attempt.model, attempt.provider = target.model, target.provider
        attempt.invented = bool(self._kwargs.get("mock_response"))
        if kind is None:
            self._call.answered_by(target.convention, target.address, target.port)
        else:
            attempt.error_type = kind.__qualname__
        self._call.attempted(attempt)
