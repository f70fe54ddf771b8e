"""Proxies around a library's stream: they stamp each read and end the call, and change nothing.

A proxy answers to its stream's class, has exactly the special methods its stream has, and
hands everything else through. The call never holds the proxy, so dropping the
stream drops the proxy, and that ends the call (``core/call/dropping.py``).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach

from otel_tokenstream.core.call.dropping import read_rest, watch
from otel_tokenstream.core.call.model_call import ABANDONED, CANCELLED, CLOSED, COMPLETED, FAILED, ModelCall, now
from otel_tokenstream.core.runtime.context import detach, detach_interrupted
from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.core.runtime.special_methods import proxy_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.call.dropping import Closer

    # reads a library's chunk: (read_started, arrived, chunk)
    Reader = Callable[[int, int, Any], None]


def proxy(
    stream: Any,
    call: ModelCall,
    read: Reader | None,
    close: Closer | None = None,
    close_collected: Callable[[], object] | None = None,
) -> Any:
    """Put a proxy around a stream.

    ``read`` is None where nobody records: the proxy then only keeps the span's context current
    while the stream is read, so that the requests below it find their parent. ``close_collected``
    stands in for ``close`` where the collector has found the stream, and must not hold it.
    """
    made = proxy_class(_Proxy, type(stream), _SPECIAL)(stream, call, read, close, None)
    call.opened = now()
    watch(made, stream, call, close, close_collected)
    return made


def filtered(proxy: Any, skip: Callable[[Any], bool]) -> None:
    """Keep chunks from a proxy's reader as if the stream had none; ``skip`` must not raise."""
    # A proxy's own names are out of its way.
    call, inner_next, read = proxy._ts_read_state  # noqa: SLF001
    _, inner_anext, _ = proxy._ts_aread_state  # noqa: SLF001

    def next_kept() -> Any:
        while skip(chunk := inner_next()):
            pass
        return chunk

    async def anext_kept() -> Any:
        while skip(chunk := await inner_anext()):
            pass
        return chunk

    object.__setattr__(proxy, "_ts_read_state", (call, inner_next and next_kept, read))
    object.__setattr__(proxy, "_ts_aread_state", (call, inner_anext and anext_kept, read))


class _Proxy:
    __slots__ = (
        "__weakref__",
        "_ts_aread_state",
        "_ts_call",
        "_ts_close",
        "_ts_outer",
        "_ts_read",
        "_ts_read_state",
        "_ts_stream",
        "_ts_watched",
    )

    def __init__(
        self, stream: Any, call: ModelCall, read: Reader | None, close: Closer | None, outer: _Proxy | None
    ) -> None:
        put = object.__setattr__
        put(self, "_ts_outer", outer)
        put(self, "_ts_stream", stream)
        put(self, "_ts_watched", None)
        put(self, "_ts_call", call)
        put(self, "_ts_read", read)
        put(self, "_ts_close", close)
        # All that a read needs in one attribute: with __getattr__ in the class each costs its share.
        put(self, "_ts_read_state", (call, getattr(stream, "__next__", None), read))
        put(self, "_ts_aread_state", (call, getattr(stream, "__anext__", None), read))

    # isinstance() asks for this; type() still tells the truth.
    @property  # type: ignore[misc]  # typeshed has it writable
    def __class__(self) -> type:
        cls: type = self._ts_stream.__class__  # another proxy's answer, where it is one
        return cls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ts_stream, name)
        if name == "close":
            return self._ts_closing(value)
        if name == "aclose":
            return self._ts_aclosing(value)
        if name in _HANDS_ITSELF_OUT:
            return self._ts_handing_out(value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ts_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._ts_stream, name)

    def __dir__(self) -> list[str]:
        return dir(self._ts_stream)

    def __repr__(self) -> str:
        return repr(self._ts_stream)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._ts_stream.__reduce_ex__(protocol)

    def _ts_end(self, outcome: str, error: BaseException | None = None) -> None:
        call = self._ts_call
        if call.ended:
            return
        at = now()
        try:
            self._ts_read_rest(at, completed=outcome == COMPLETED)
        finally:  # also where a signal handler raises
            call.end(outcome, error, at)

    def _ts_read_rest(self, at: int, *, completed: bool) -> None:
        call = self._ts_call
        try:
            if call.read_started:
                call.blocked(call.read_started, at, finished=completed)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("the last read of a stream", problem)
        read_rest(self._ts_close, self._ts_stream)

    def _ts_failed(self, error: BaseException) -> None:
        # A stream that another thread closes under a read fails that read.
        closing = self._ts_call.closing
        self._ts_end(closing or outcome_of(error), None if closing else error)

    def _ts_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        def closing(*args: Any, **kwargs: Any) -> Any:
            self._ts_call.closing = outcome = outcome_of_closing()
            try:
                return close(*args, **kwargs)
            finally:
                self._ts_end(outcome)

        return closing

    def _ts_aclosing(self, aclose: Callable[..., Any]) -> Callable[..., Any]:
        async def aclosing(*args: Any, **kwargs: Any) -> Any:
            self._ts_call.closing = outcome = outcome_of_closing()
            try:
                return await aclose(*args, **kwargs)
            finally:
                self._ts_end(outcome)

        return aclosing

    def _ts_handing_out(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def handing_out(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return self if result is self._ts_stream else result

        return handing_out


def _iter(self: _Proxy) -> Any:
    iterator = iter(self._ts_stream)
    return self if iterator is self._ts_stream else _other_iterator(self, iterator)


def _aiter(self: _Proxy) -> Any:
    iterator = self._ts_stream.__aiter__()
    return self if iterator is self._ts_stream else _other_iterator(self, iterator)


def _other_iterator(self: _Proxy, iterator: Any) -> Any:
    """Some streams are iterated by an object of its own. It keeps this one alive, whose drop alone is the end."""

    def close(_: Any) -> None:
        if self._ts_close is not None:
            self._ts_close(self._ts_stream)

    return proxy_class(_Proxy, type(iterator), _SPECIAL)(iterator, self._ts_call, self._ts_read, close, self)


def _next(self: _Proxy) -> Any:
    call, inner_next, read = self._ts_read_state
    token: Any = None
    try:
        token = attach(call.context)
        call.read_started = read_started = now()
        chunk = inner_next()
        arrived = now()
        detach(token)
    except StopIteration:
        try:
            detach(token)
        except BaseException:
            detach_interrupted(call.context, token)
            raise
        finally:
            self._ts_end(COMPLETED)
        raise
    except BaseException as error:
        detach_interrupted(call.context, token)
        self._ts_failed(error)
        raise
    call.read_started = 0
    if read is not None:
        try:
            read(read_started, arrived, chunk)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("reading a chunk", problem)
    return chunk


async def _anext(self: _Proxy) -> Any:
    call, inner_next, read = self._ts_aread_state
    token: Any = None
    try:
        token = attach(call.context)
        call.read_started = read_started = now()
        chunk = await inner_next()
        arrived = now()
        detach(token)
    except StopAsyncIteration:
        try:
            detach(token)
        except BaseException:
            detach_interrupted(call.context, token)
            raise
        finally:
            self._ts_end(COMPLETED)
        raise
    except GeneratorExit:
        # The pending read itself was dropped, maybe by the collector in another context:
        # the context is not ours to restore there.
        self._ts_end(ABANDONED)
        raise
    except BaseException as error:
        detach_interrupted(call.context, token)
        self._ts_failed(error)
        raise
    call.read_started = 0
    if read is not None:
        try:
            read(read_started, arrived, chunk)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("reading a chunk", problem)
    return chunk


def _enter(self: _Proxy) -> Any:
    entered = self._ts_stream.__enter__()
    return self if entered is self._ts_stream else entered


def _exit(self: _Proxy, *error: Any) -> Any:
    try:
        return self._ts_stream.__exit__(*error)
    finally:
        self._ts_end(outcome_of_exit(error[0]))


async def _aenter(self: _Proxy) -> Any:
    entered = await self._ts_stream.__aenter__()
    return self if entered is self._ts_stream else entered


async def _aexit(self: _Proxy, *error: Any) -> Any:
    try:
        return await self._ts_stream.__aexit__(*error)
    finally:
        self._ts_end(outcome_of_exit(error[0]))


def _await(self: _Proxy) -> Any:
    """Some streams are opened by awaiting them, and give themselves."""
    try:
        awaited = yield from self._ts_stream.__await__()
    except GeneratorExit:
        self._ts_end(ABANDONED)
        raise
    except BaseException as error:
        self._ts_failed(error)
        raise
    self._ts_call.opened = now()
    return self if awaited is self._ts_stream else awaited


_SPECIAL: dict[str, Callable[..., Any]] = {
    "__iter__": _iter,
    "__next__": _next,
    "__aiter__": _aiter,
    "__anext__": _anext,
    "__enter__": _enter,
    "__exit__": _exit,
    "__aenter__": _aenter,
    "__aexit__": _aexit,
    "__await__": _await,
}

# Names under which a stream of bytes is asked for its bytes, and may answer that it is them.
_HANDS_ITSELF_OUT = ("iter_bytes", "aiter_bytes")


def is_proxy(thing: object) -> bool:
    return issubclass(type(thing), _Proxy)


def is_mock(thing: object) -> bool:
    """Return whether a test put it in the place of an answer: it has every attribute, and none that says something."""
    return any(each.__module__ in ("unittest.mock", "mock.mock") for each in type(original_of(thing)).__mro__)


def original_of(thing: Any) -> Any:
    """Return what a proxy of ours stands around; anything else is itself."""
    while issubclass(type(thing), _Proxy):
        thing = thing._ts_stream  # noqa: SLF001  # a proxy's own name
    return thing


def outcome_of(error: BaseException) -> str:
    """Return how a call ended that raised."""
    # A BaseException that is no Exception is no failure: cancellation by asyncio, trio or anyio, Ctrl-C.
    return FAILED if isinstance(error, Exception) else CANCELLED


def outcome_of_exit(error: type[BaseException] | None) -> str:
    return CLOSED if error is None or issubclass(error, (Exception, GeneratorExit)) else CANCELLED


def outcome_of_closing() -> str:
    """Return how a call ends whose stream is being closed by whoever calls us."""
    # A task that is being cancelled closes its stream on the way out, with its
    # cancellation still being handled.
    return outcome_of_exit(sys.exc_info()[0])
