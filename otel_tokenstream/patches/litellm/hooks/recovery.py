"""A router that replaces a stream: the broken one was an attempt, and the call goes on with another.

Most routers read a stream's first chunk before they return the stream. When it fails there, they try
again within the call; when it fails later, they try again within the program's read.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.model_call import now
from otel_tokenstream.core.call.nesting import CallScope, call_being_read, current_call
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall


def recovering(original: Any) -> Callable[..., Any]:
    """Make a method that replaces a broken stream part of the call that is being read."""

    @wraps(original)
    def recover(self: Any, *args: Any, **kwargs: Any) -> Any:
        function, call = original.__get__(self), _resume(args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        with CallScope(call):
            return function(*args, **kwargs)

    return recover


def arecovering(original: Any) -> Callable[..., Any]:
    """Do the same for a coroutine method."""

    @wraps(original)
    async def recover(self: Any, *args: Any, **kwargs: Any) -> Any:
        function, call = original.__get__(self), _resume(args, kwargs)
        if call is None:
            return await function(*args, **kwargs)
        with CallScope(call):
            return await function(*args, **kwargs)

    return recover


def opening(original: Any) -> Callable[..., Any]:
    """Note the error of a function that reads the first chunk of an attempt's stream."""

    @wraps(original)
    def open_stream(*args: Any, **kwargs: Any) -> Any:
        try:
            return original(*args, **kwargs)
        except Exception as error:
            _note_failed_opening(error)
            raise

    return open_stream


def aopening(original: Any) -> Callable[..., Any]:
    """Do the same for a coroutine function."""

    @wraps(original)
    async def open_stream(*args: Any, **kwargs: Any) -> Any:
        try:
            return await original(*args, **kwargs)
        except Exception as error:
            _note_failed_opening(error)
            raise

    return open_stream


@guarded
def _note_failed_opening(error: BaseException) -> None:
    call = current_call()
    if call is not None:
        broke_off(call, error)


@guarded
def _resume(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ModelCall | None:
    """Return the call whose stream broke while the program reads it, ready for the next answer.

    The error is among the arguments. Within the creating call it only ends the attempt.
    """
    error = next((each for each in (*args, *kwargs.values()) if isinstance(each, BaseException)), None)
    creating = current_call()
    call = creating or call_being_read()
    if call is None or error is None:
        return None
    broke_off(call, error)
    if creating is not None:
        return None
    # The broken stream may have said these; the answer that follows says its own.
    call.response_id = call.response_model = call.usage = call.error_type = None
    call.finish_reasons.clear()
    return call


def broke_off(call: ModelCall, error: BaseException) -> None:
    """Note what ended the newest attempt, which had given a stream by then."""
    attempt = call.attempts[-1] if call.attempts else None
    if attempt is not None and attempt.error_type is None:
        attempt.error_type = type(getattr(error, "original_exception", None) or error).__qualname__
        attempt.ended = now()
