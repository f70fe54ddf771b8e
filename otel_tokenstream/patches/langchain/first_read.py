"""Streams whose call begins at their first read: LangChain's generators ask no model before that."""

from __future__ import annotations

from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.dropping import watch
from otel_tokenstream.core.call.layered import (
    _ENDING_METHODS,
    _anext_of_ending,
    _Ending,
    _next_of_ending,
    hand_over_outer,
)
from otel_tokenstream.core.call.model_call import COMPLETED, now
from otel_tokenstream.core.runtime.guard import attempt, fault
from otel_tokenstream.core.runtime.special_methods import proxy_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.call.layered import Begun
    from otel_tokenstream.patches.langchain.invocations import beginning

_NAME = "LangChain's stream"


def begun_at_first_read(stream: Any, begin: beginning) -> Any:
    """Return the stream in a proxy that begins its call, under the span that is current now, at the first read."""
    if type(stream) not in (GeneratorType, AsyncGeneratorType):  # another package's, which may have asked already
        with begin as begun:
            return stream if begun is None else hand_over_outer(begun, stream, _NAME)
    made = attempt(_unread, stream, begin)
    return stream if made is None else made


def _unread(stream: Any, begin: beginning) -> Any:
    if not begin.applies():
        return None
    begin.keep_context()
    made = proxy_class(_Unread, type(stream), _UNREAD_METHODS)(stream, None, None, None, None)
    object.__setattr__(made, "_ts_first", begin)
    return made


class _Unread(_Ending):
    """An outer stream without a call until it is read, or for ever where nothing is recorded then."""

    __slots__ = ("_ts_first",)

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        reads = _SENDING.get(name)
        return value if reads is None else partial(reads, self, value)

    def _ts_has_call(self) -> bool:
        """Begin the call, unless that was tried before; return whether there is one."""
        begin = self._ts_first
        object.__setattr__(self, "_ts_first", None)
        if begin is not None and not _is_over(self._ts_stream):
            with begin as begun:
                if begun is not None:
                    self._ts_take(begun)
        return self._ts_call is not None

    def _ts_take(self, begun: Begun) -> None:
        call = begun.call
        try:
            call.read_started = 0
            object.__setattr__(self, "_ts_call", call)
            self._ts_begin(begun)
            watch(self, self._ts_stream, call, None, None)
            call.opened = now()
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault(_NAME, problem)
            call.end(COMPLETED)

    def _ts_closing(self, close: Callable[..., Any]) -> Callable[..., Any]:
        ending = super()._ts_closing(close)

        def closing(*args: Any, **kwargs: Any) -> Any:
            return (close if self._ts_call is None else ending)(*args, **kwargs)

        return closing

    def _ts_aclosing(self, aclose: Callable[..., Any]) -> Callable[..., Any]:
        ending = super()._ts_aclosing(aclose)

        def aclosing(*args: Any, **kwargs: Any) -> Any:
            return (aclose if self._ts_call is None else ending)(*args, **kwargs)

        return aclosing


def _is_over(generator: Any) -> bool:
    """Return whether a generator was closed, or ended by an exception that was thrown into it."""
    return any(getattr(generator, name, generator) is None for name in ("gi_frame", "ag_frame"))


def _next_of_unread(self: _Unread) -> Any:
    if self._ts_call is None and not self._ts_has_call():
        return self._ts_read_state[1]()
    return _next_of_ending(self)


def _anext_of_unread(self: _Unread) -> Any:
    return _first_anext(self) if self._ts_call is None else _anext_of_ending(self)


async def _first_anext(self: _Unread) -> Any:
    if not self._ts_has_call():
        return await self._ts_aread_state[1]()
    return await _anext_of_ending(self)


def _send(self: _Unread, send: Callable[[Any], Any], given: Any) -> Any:
    return _next_of_unread(self) if given is None else send(given)


def _asend(self: _Unread, asend: Callable[[Any], Any], given: Any) -> Any:
    return _anext_of_unread(self) if given is None else asend(given)


# To send None is to read.
_SENDING: dict[str, Callable[..., Any]] = {"send": _send, "asend": _asend}
_UNREAD_METHODS = {**_ENDING_METHODS, "__next__": _next_of_unread, "__anext__": _anext_of_unread}
