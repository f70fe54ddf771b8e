"""Reads of an inner stream that call back the program: the time of its callbacks is not the provider's."""

from __future__ import annotations

from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, get_current

from otel_tokenstream.core.call.model_call import now
from otel_tokenstream.core.call.nesting import ReadScope, no_current_call, owner
from otel_tokenstream.core.runtime.context import detach_safely, outer_of
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from opentelemetry.context import Context

    from otel_tokenstream.core.call.model_call import ModelCall


@guarded
def put_outside_reads(
    name: str, objects: Iterable[object], put: Callable[[type, str, Callable[..., Any]], None]
) -> None:
    """Let the methods of this name that call back the program be no part of a read of an inner stream.

    ``put`` puts a function around a class's own one. It is called for the classes of those objects that have one.
    """
    for each in objects:
        for cls in type(each).__mro__:
            own = vars(cls).get(name)
            if own is not None:
                if getattr(own, "__code__", None) not in _OUTSIDE:
                    put(cls, name, _outside_read)
                break


def _outside_read(original: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(original):
        return _aoutside_read(original)

    @wraps(original)
    def call_back(self: Any, *args: Any, **kwargs: Any) -> Any:
        read = _read_under_way()
        if read is None:
            return original(self, *args, **kwargs)
        with _Interruption(read, kwargs.get("chunk")):
            return original(self, *args, **kwargs)

    return call_back


def _aoutside_read(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def call_back(self: Any, *args: Any, **kwargs: Any) -> Any:
        read = _read_under_way()
        if read is None:
            return await original(self, *args, **kwargs)
        with _Interruption(read, kwargs.get("chunk")):
            return await original(self, *args, **kwargs)

    return call_back


class TimedRead(ReadScope):
    """A read of an inner stream, which may be interrupted by callbacks of the program."""

    __slots__ = ("outer", "told")

    def __init__(self, call: ModelCall) -> None:
        self.outer = get_current()
        self.told: tuple[int, int, int] | None = None
        """The id of the chunk that the last callback was told, the start of the read and that of the callback."""
        super().__init__(call)

    def times(self, arrived: int, chunk: object) -> tuple[int, int]:
        """Return the start of the read, later by the time of callbacks, and the arrival of the chunk."""
        if self.told is not None and self.told[0] == id(chunk):
            return self.told[1:]
        return self.call.read_started or arrived, arrived


def _read_under_way() -> TimedRead | None:
    read = owner()
    # A call has no read_started while another thread interrupts its read, and after its end.
    return read if type(read) is TimedRead and read.active and read.call.read_started else None


class _Interruption:
    """A callback in the midst of a read: its time is not the read's, and calls made in it are calls of their own."""

    __slots__ = ("_at", "_attached", "_chunk", "_context", "_no_call", "_read", "_started")

    def __init__(self, read: TimedRead, chunk: object) -> None:
        self._read = read
        self._chunk = id(chunk)  # the object itself would be freed later
        self._started = 0
        self._no_call = no_current_call()
        self._context: Context | None = None

    def __enter__(self) -> None:
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(kind)

    @guarded
    def _begin(self) -> None:
        call = self._read.call
        self._no_call.__enter__()
        self._at = now()
        self._started, call.read_started = call.read_started, 0
        self._read.told = self._chunk, self._started, self._at
        if get_current() is call.context:
            outer: Any = self._read.outer
            if outer is call.context:  # the library reads within the call that makes the stream
                outer = outer_of(outer)
            self._attached = attach(outer)
            self._context = outer

    @guarded
    def _end(self, kind: type[BaseException] | None) -> None:
        call = self._read.call
        if self._context is not None:
            detach_safely(self._context, self._attached, kind)
        if self._started and not call.ended:
            call.read_started = self._started + now() - self._at
        self._no_call.__exit__(None, None, None)


def _nothing() -> None:
    pass


_OUTSIDE = {_outside_read(_nothing).__code__, _aoutside_read(_nothing).__code__}
