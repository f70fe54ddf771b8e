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

from otel_tokenstream.core.call.model_call import ModelCall, now
from otel_tokenstream.core.call.nesting import current_call, no_current_call
from otel_tokenstream.core.call.request import Attempt
from otel_tokenstream.core.runtime.context import reset, set_contextvar
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.litellm.hooks.recovery import broke_off
from otel_tokenstream.patches.litellm.target import target_again
from otel_tokenstream.patches.litellm.transport.inner_stream import note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextvars import Token
    from types import TracebackType

    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

# Raised by litellm's native code before it asks anybody: its Python code asks instead.
_DECLINED = "RustBridgeDeclined"

# An error that litellm deals with on a loop in another thread.
_carried_error: ContextVar[BaseException | None] = ContextVar("otel_tokenstream_litellm_error", default=None)
_current: ContextVar[_AttemptScope | None] = ContextVar("otel_tokenstream_litellm_attempt", default=None)


def attempting(endpoint: Endpoint, original: Callable[..., Any]) -> Callable[..., Any]:
    """Record each run of a function as an attempt of the call it belongs to."""

    @wraps(original)
    def attempt(*args: Any, **kwargs: Any) -> Any:
        scope = _scope(endpoint, args, kwargs)
        if scope is None:
            return original(*args, **kwargs)
        with scope:
            result = original(*args, **kwargs)
            scope.record(result)
        return result

    return attempt


def aattempting(endpoint: Endpoint, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a coroutine function."""

    @wraps(original)
    async def attempt(*args: Any, **kwargs: Any) -> Any:
        scope = _scope(endpoint, args, kwargs)
        if scope is None:
            return await original(*args, **kwargs)
        with scope:
            result = await original(*args, **kwargs)
            scope.record(result)
        return result

    return attempt


@guarded
def _scope(endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _AttemptScope | None:
    call = current_call()
    return None if call is None or not call.observed else _AttemptScope(call, endpoint, args, kwargs)


@contextmanager
def outside_call() -> Iterator[None]:
    """Let calls made inside be the program's own, and no part of the one that litellm is making."""
    with no_current_call(), set_contextvar(_current, None):
        yield


def is_attempting() -> bool:
    """Return whether litellm is making one of its requests right now."""
    return _current.get() is not None


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


class _AttemptScope:
    """One run; counts as an attempt unless a run inside it did."""

    __slots__ = ("_args", "_attempt", "_call", "_delegated", "_endpoint", "_handed_on", "_kwargs", "_outer", "_token")

    def __init__(self, call: ModelCall, endpoint: Endpoint, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._call = call
        self._endpoint = endpoint
        self._args = args
        self._kwargs = kwargs
        self._attempt: Attempt | None = None
        self._delegated = False  # a run inside this one was the real one
        self._handed_on = False  # this one only made a coroutine for the run around it

    def __enter__(self) -> None:
        started = now()
        self._outer = _current.get()
        self._token: Token[_AttemptScope | None] = _current.set(self)
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
    def record(self, result: Any) -> None:
        """Take what the run returned."""
        self._handed_on = inspect.iscoroutine(result)
        note(self._call, result)

    @guarded
    def _begin(self, started: int) -> None:
        self._attempt = Attempt("", "", started)
        error = handled_error()
        if error is not None:
            broke_off(self._call, error)

    @guarded
    def _finish(self, kind: type[BaseException] | None) -> None:
        attempt = self._attempt
        if self._handed_on or attempt is None or (kind is not None and kind.__name__ == _DECLINED):
            return
        if self._outer is not None:
            self._outer._delegated = True  # noqa: SLF001  # its own class
        if self._delegated:
            return
        attempt.ended = now()
        target = target_again(self._endpoint.bind(self._args, self._kwargs))
        attempt.model, attempt.provider, attempt.routed = target.model, target.provider, target.routed
        attempt.invented = bool(self._kwargs.get("mock_response"))
        if kind is None:
            self._call.answered_by(target.convention, target.address, target.port)
        else:
            attempt.error_type = kind.__qualname__
        self._call.attempted(attempt)
