"""Raw responses of the SDKs, which give their answer or stream when they are parsed.

``parse`` and ``close`` are patched on the SDKs' classes: a function on the response itself would hold the response, or
would lose it where a program parses it without keeping it.
"""

from __future__ import annotations

from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.stream_proxy import outcome_of_closing
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_CLASSES = (
    ("_legacy_response", "LegacyAPIResponse"),
    ("_response", "APIResponse"),
    ("_response", "AsyncAPIResponse"),
)
# httpx and httpx2 put one of these around the stream of every response.
_BOUND = ("BoundSyncStream", "BoundAsyncStream")


def patches(package: str) -> Iterator[Patch]:
    for module, name in _CLASSES:
        for method, wrap in (("parse", _parsing), ("close", _closing)):
            yield Patch(f"{package}.{module}", f"{name}.{method}", wrap, after=package, optional=True)


def is_raw(result: object) -> bool:
    return hasattr(result, "http_response")


def when_parsed(response: Any, handed: Callable[[Any], Any]) -> None:
    """Let ``parse`` of this response, and of its copies, return what ``handed`` makes of its result."""
    response._ts_parsed = handed  # noqa: SLF001  # a name of ours


def when_closed(response: Any, closed: Callable[[str], object]) -> None:
    """Tell ``closed`` how a call ends whose response was closed."""
    response._ts_closed = closed  # noqa: SLF001  # a name of ours


def at_last_byte(response: Any, ended: Callable[[], object]) -> None:
    """Call ``ended`` once the body of an HTTP response has been read to its end."""
    bound = response.stream
    if type(bound).__name__ in _BOUND:
        bound._stream = _Body(bound._stream, ended)  # noqa: SLF001  # ``stream`` itself is the program's to see


def _handed(response: Any, result: Any) -> Any:
    handed = vars(response).get("_ts_parsed")
    return result if handed is None else handed(result)


def _tell_closed(response: Any, outcome: str) -> None:
    closed = vars(response).get("_ts_closed")
    if closed is not None:
        closed(outcome)


def _parsing(original: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(original):
        return _aparsing(original)

    @wraps(original)
    def parse(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _handed(self, original(self, *args, **kwargs))

    return parse


def _aparsing(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def parse(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _handed(self, await original(self, *args, **kwargs))

    return parse


def _closing(original: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(original):
        return _aclosing(original)

    @wraps(original)
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = outcome_of_closing()
        try:
            return original(self, *args, **kwargs)
        finally:
            _tell_closed(self, outcome)

    return close


def _aclosing(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        outcome = outcome_of_closing()
        try:
            return await original(self, *args, **kwargs)
        finally:
            _tell_closed(self, outcome)

    return close


class _Body:
    """The bytes of a response, whose end is told."""

    __slots__ = ("_ended", "_stream")

    def __init__(self, stream: Any, ended: Callable[[], object]) -> None:
        self._stream = stream
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self._ended()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = self._stream.__aiter__()
        try:
            async for piece in stream:
                yield piece
        finally:
            if hasattr(stream, "aclose"):
                await stream.aclose()
        self._ended()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
