"""Calls of a library that makes a stream out of a stream: the inner one tells the times, the outer one the end.

Between the two stands work of the library and of the program: callbacks, conversions. A call's
reads are those of the inner stream, so they are the provider's alone. How the call ends is
seen at the outer one, which the program holds.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach

from otel_tokenstream.core.call.dropping import watch
from otel_tokenstream.core.call.interrupted_read import TimedRead
from otel_tokenstream.core.call.model_call import ABANDONED, COMPLETED, ModelCall, now
from otel_tokenstream.core.call.stream_proxy import _SPECIAL, _Proxy
from otel_tokenstream.core.runtime.context import detach, detach_interrupted, reset
from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.core.runtime.special_methods import proxy_class

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from types import TracebackType

    from otel_tokenstream.core.call.stream_proxy import Reader


class Begun:
    """A call that has begun and whose model is still to be asked, current in a ``with`` block.

    ``asks`` says whether it is a given object that the call may ask. It is no longer ``open`` once the
    program has its first chunk, or the answer.
    """

    __slots__ = ("_token", "asks", "call", "is_asked", "is_group", "is_last", "is_read", "open")

    def __init__(self, call: ModelCall, asks: Callable[[object], bool], *, is_group: bool = False) -> None:
        self.call = call
        self.asks = asks
        self.is_group = is_group
        """Whether the call may ask several models, one after the other."""
        self.is_last: Callable[[Any], bool | None] | None = None
        """Whether a chunk of the outer stream is the last one, after which nobody reads on."""
        self.open = True
        self.is_asked = False
        """Whether a model was asked; where none is, the answer was kept from another call."""
        self.is_read = False
        """Whether a stream below tells the times already."""
        self._token: Token[Begun | None] | None = None

    def __enter__(self) -> None:
        self._token = _begun.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.open = False
        if self._token is not None:
            reset(_begun, self._token)
            self._token = None


_begun: ContextVar[Begun | None] = ContextVar("otel_tokenstream_begun", default=None)


def begun_for(model: object) -> Begun | None:
    """Return the call that has begun and may ask this model, if any."""
    begun = _begun.get()
    return begun if begun is not None and begun.open and not begun.call.ended and begun.asks(model) else None


def hand_over_outer(begun: Begun, stream: Any, name: str) -> Any:
    """Return what the program is given for an outer stream: the stream in a proxy; ``name`` is its own in a fault."""
    begun.call.read_started = 0
    try:
        return ending(stream, begun)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault(name, problem)
        begun.call.end(COMPLETED)
        return stream


def ending(stream: Any, begun: Begun) -> Any:
    """Put a proxy around the outer stream, by which the call ends; its first read asks the model."""
    made = proxy_class(_Ending, type(stream), _ENDING_METHODS)(stream, begun.call, None, None, None)
    made._ts_begin(begun)  # noqa: SLF001  # a proxy's own names are out of its stream's way
    watch(made, stream, begun.call, None, None)
    begun.call.opened = now()
    return made


def timing(stream: Any, call: ModelCall, read: Reader | None, ended: Callable[[BaseException | None], None]) -> Any:
    """Put a proxy around the inner stream, whose reads are the call's.

    ``ended`` is called once with what ended it, None at its end.
    """
    made = proxy_class(_Timing, type(stream), _TIMING_METHODS)(stream, call, read, None, None)
    object.__setattr__(made, "_ts_ended", ended)
    return made


class _Ending(_Proxy):
    """Its reads count as none."""

    __slots__ = ()

    def _ts_begin(self, begun: Begun) -> None:
        for name in ("_ts_read_state", "_ts_aread_state"):
            call, inner_next, _ = getattr(self, name)
            object.__setattr__(self, name, (call, inner_next, begun))


def _next_of_ending(self: _Ending) -> Any:
    _, inner_next, begun = self._ts_read_state
    token = _begun.set(begun) if begun.open else None
    try:
        chunk = inner_next()
    except StopIteration:
        self._ts_end(COMPLETED)
        raise
    except BaseException as error:
        self._ts_failed(error)
        raise
    finally:
        if token is not None:
            reset(_begun, token)
    begun.open = False
    if begun.is_last is not None and begun.is_last(chunk):
        self._ts_end(COMPLETED)
    return chunk


async def _anext_of_ending(self: _Ending) -> Any:
    _, inner_next, begun = self._ts_aread_state
    token = _begun.set(begun) if begun.open else None
    try:
        chunk = await inner_next()
    except StopAsyncIteration:
        self._ts_end(COMPLETED)
        raise
    except GeneratorExit:
        self._ts_end(ABANDONED)
        raise
    except BaseException as error:
        self._ts_failed(error)
        raise
    finally:
        if token is not None:
            reset(_begun, token)
    begun.open = False
    if begun.is_last is not None and begun.is_last(chunk):
        self._ts_end(COMPLETED)
    return chunk


class _Timing(_Proxy):
    """Ends nothing: only that it has ended is told."""

    __slots__ = ("_ts_ended",)

    def _ts_end(self, outcome: str, error: BaseException | None = None) -> None:
        ended, call = self._ts_ended, self._ts_call
        object.__setattr__(self, "_ts_ended", _nothing)
        try:
            if outcome == COMPLETED and call.read_started:
                call.blocked(call.read_started, now(), finished=True)
                call.read_started = 0
            ended(error)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("the end of an inner stream", problem)

    def _ts_failed(self, error: BaseException) -> None:
        self._ts_end("", error)

    def _ts_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        return close

    def _ts_aclosing(self, aclose: Callable[..., Any]) -> Callable[..., Any]:
        return aclose


def _next_of_timing(self: _Timing) -> Any:
    call, inner_next, read = self._ts_read_state
    token: Any = None
    scope = TimedRead(call)
    try:
        token = attach(call.context)
        call.read_started = read_started = now()
        chunk = inner_next()
        arrived = now()
        detach(token)
    except StopIteration:
        detach(token)
        self._ts_end(COMPLETED)
        raise
    except BaseException as error:
        detach_interrupted(call.context, token)
        self._ts_failed(error)
        raise
    finally:
        scope.leave()
    if scope.told is not None:
        read_started, arrived = scope.times(arrived, chunk)
    call.read_started = 0
    if read is not None:
        try:
            read(read_started, arrived, chunk)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("reading a chunk", problem)
    return chunk


async def _anext_of_timing(self: _Timing) -> Any:
    call, inner_next, read = self._ts_aread_state
    token: Any = None
    scope = TimedRead(call)
    try:
        token = attach(call.context)
        call.read_started = read_started = now()
        chunk = await inner_next()
        arrived = now()
        detach(token)
    except StopAsyncIteration:
        detach(token)
        self._ts_end(COMPLETED)
        raise
    except GeneratorExit:
        # In whatever context the pending read was dropped: there is nothing of ours to restore there.
        raise
    except BaseException as error:
        detach_interrupted(call.context, token)
        self._ts_failed(error)
        raise
    finally:
        scope.leave()
    if scope.told is not None:
        read_started, arrived = scope.times(arrived, chunk)
    call.read_started = 0
    if read is not None:
        try:
            read(read_started, arrived, chunk)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("reading a chunk", problem)
    return chunk


def _nothing(_: BaseException | None) -> None:
    pass


_ENDING_METHODS = {**_SPECIAL, "__next__": _next_of_ending, "__anext__": _anext_of_ending}
_TIMING_METHODS = {**_SPECIAL, "__next__": _next_of_timing, "__anext__": _anext_of_timing}
