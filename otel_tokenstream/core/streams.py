"""Proxies around a library's stream: they stamp each read and end the call, and change nothing.

A proxy answers to its stream's class, has exactly the special methods its stream has, and
hands everything else through. The generation never refers to the proxy, so dropping the
stream drops the proxy, and that ends the call.
"""

from __future__ import annotations

import sys
from inspect import getattr_static
from types import FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach

from otel_tokenstream.core.generation import ABANDONED, CANCELLED, CLOSED, COMPLETED, FAILED, Generation, now
from otel_tokenstream.core.guard import fault

if TYPE_CHECKING:
    from collections.abc import Callable

    # reads what a library's chunk says: (asked, arrived, chunk)
    Reader = Callable[[int, int, Any], None]
    # reads what is known only at the end, with the stream itself
    Closer = Callable[[Any], None]


def proxy(stream: Any, generation: Generation, read: Reader | None, close: Closer | None = None) -> Any:
    """Put a proxy around a stream.

    ``read`` is None where nobody records: the proxy then only keeps the span's context current
    while the stream is read, so that the requests below it find their parent.
    """
    return _proxy_class(type(stream))(stream, generation, read, close, None)


def filtered(proxy: Any, skip: Callable[[Any], bool]) -> None:
    """Keep chunks from a proxy's reader as if the stream had none; ``skip`` must not raise."""
    # A proxy's own names are out of its way.
    generation, following, read = proxy._ts_next  # noqa: SLF001
    _, afollowing, _ = proxy._ts_anext  # noqa: SLF001

    def next_kept() -> Any:
        while skip(chunk := following()):
            pass
        return chunk

    async def anext_kept() -> Any:
        while skip(chunk := await afollowing()):
            pass
        return chunk

    object.__setattr__(proxy, "_ts_next", (generation, following and next_kept, read))
    object.__setattr__(proxy, "_ts_anext", (generation, afollowing and anext_kept, read))


class _Proxy:
    __slots__ = (
        "__weakref__",
        "_ts_anext",
        "_ts_close",
        "_ts_generation",
        "_ts_next",
        "_ts_outer",
        "_ts_read",
        "_ts_stream",
    )

    def __init__(
        self, stream: Any, generation: Generation, read: Reader | None, close: Closer | None, outer: _Proxy | None
    ) -> None:
        put = object.__setattr__
        put(self, "_ts_outer", outer)
        put(self, "_ts_stream", stream)
        put(self, "_ts_generation", generation)
        put(self, "_ts_read", read)
        put(self, "_ts_close", close)
        # All that a read needs in one attribute: with __getattr__ in the class each costs its share.
        put(self, "_ts_next", (generation, getattr(stream, "__next__", None), read))
        put(self, "_ts_anext", (generation, getattr(stream, "__anext__", None), read))

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

    def __del__(self) -> None:
        try:
            generation = self._ts_generation
            if generation.ended or self._ts_outer is not None:
                return
        except AttributeError:
            return
        self._ts_read_rest()
        generation.end(ABANDONED)

    def _ts_end(self, outcome: str, error: BaseException | None = None) -> None:
        generation = self._ts_generation
        if generation.ended:
            return
        at = now()
        try:
            if generation.asked:
                generation.blocked(generation.asked, at, finished=outcome == COMPLETED)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("the last read of a stream", problem)
        self._ts_read_rest()
        generation.end(outcome, error, at)

    def _ts_read_rest(self) -> None:
        try:
            if self._ts_close is not None:
                self._ts_close(self._ts_stream)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("reading an ended stream", problem)

    def _ts_failed(self, error: BaseException) -> None:
        # A stream that another thread closes under a read fails that read.
        closing = self._ts_generation.closing
        self._ts_end(closing or outcome_of(error), None if closing else error)

    def _ts_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        def closing(*args: Any, **kwargs: Any) -> Any:
            self._ts_generation.closing = outcome = _outcome_of_closing()
            try:
                return close(*args, **kwargs)
            finally:
                self._ts_end(outcome)

        return closing

    def _ts_aclosing(self, aclose: Callable[..., Any]) -> Callable[..., Any]:
        async def aclosing(*args: Any, **kwargs: Any) -> Any:
            self._ts_generation.closing = outcome = _outcome_of_closing()
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

    return _proxy_class(type(iterator))(iterator, self._ts_generation, self._ts_read, close, self)


def _next(self: _Proxy) -> Any:
    generation, following, read = self._ts_next
    token = attach(generation.context)
    generation.asked = asked = now()
    try:
        chunk = following()
    except StopIteration:
        detach(token)
        self._ts_end(COMPLETED)
        raise
    except BaseException as error:
        detach(token)
        self._ts_failed(error)
        raise
    arrived = now()
    detach(token)
    generation.asked = 0
    if read is not None:
        try:
            read(asked, arrived, chunk)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("reading a chunk", problem)
    return chunk


async def _anext(self: _Proxy) -> Any:
    generation, following, read = self._ts_anext
    token = attach(generation.context)
    generation.asked = asked = now()
    try:
        chunk = await following()
    except StopAsyncIteration:
        detach(token)
        self._ts_end(COMPLETED)
        raise
    except GeneratorExit:
        # The pending read itself was dropped, maybe by the collector in another context:
        # the context is not ours to restore there.
        self._ts_end(ABANDONED)
        raise
    except BaseException as error:
        detach(token)
        self._ts_failed(error)
        raise
    arrived = now()
    detach(token)
    generation.asked = 0
    if read is not None:
        try:
            read(asked, arrived, chunk)
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

# What a class has for its objects, not for itself.
_METHODS = (FunctionType, MethodDescriptorType, WrapperDescriptorType)

_classes: dict[type, type[_Proxy]] = {}


def _proxy_class(stream_class: type) -> type[_Proxy]:
    known = _classes.get(stream_class)
    if known is None:
        methods = {name: method for name, method in _SPECIAL.items() if hasattr(stream_class, name)}
        methods |= {name: _handed_through(name) for name in _further_names(stream_class)}
        known = type(f"{stream_class.__name__}Proxy", (_Proxy,), {"__slots__": (), **methods})
        _classes[stream_class] = known
    return known


def _further_names(stream_class: type) -> list[str]:
    """Return the special methods that a stream has and neither a plain object nor every proxy."""
    names = {name for name in dir(stream_class) if name.startswith("__")}.difference(dir(_Proxy), _SPECIAL)
    return [name for name in names if isinstance(getattr_static(stream_class, name, None), _METHODS)]


def _handed_through(name: str) -> Callable[..., Any]:
    def method(self: _Proxy, *args: Any, **kwargs: Any) -> Any:
        result = getattr(self._ts_stream, name)(*args, **kwargs)
        return self if result is self._ts_stream else result

    return method


def outcome_of(error: BaseException) -> str:
    """Return how a call ended that raised."""
    # What is no Exception is no failure either: cancellation by asyncio, trio or anyio, Ctrl-C.
    return FAILED if isinstance(error, Exception) else CANCELLED


def outcome_of_exit(error: type[BaseException] | None) -> str:
    return CLOSED if error is None or issubclass(error, (Exception, GeneratorExit)) else CANCELLED


def _outcome_of_closing() -> str:
    # A task that is being cancelled closes its stream on the way out, with its
    # cancellation still being handled.
    return outcome_of_exit(sys.exc_info()[0])
