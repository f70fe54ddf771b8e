"""Streams in a proxy whose ends are collected, for the tests of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current

from otel_tokenstream.core.call.model_call import ModelCall
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.call.stream_proxy import proxy
from otel_tokenstream.core.call.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from typing_extensions import Self


class Ends:
    """A recorder that only collects what ended."""

    observed = True
    live = None
    instruments = None

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []

    def finish(self, generation: ModelCall) -> None:
        self.calls.append(generation)

    @property
    def outcomes(self) -> list[str]:
        return [call.outcome for call in self.calls]

    def call(self, **timeline: Any) -> ModelCall:
        request = Request("chat", "scripted", "test", stream=True)
        call = ModelCall(request, self, Timeline(**{"budget": 8, **timeline}), get_current())
        call.read_started = 0
        return call

    def around(self, stream: Any, closer: Any = None) -> Any:
        """The stream in a proxy that takes its chunks for text."""
        call = self.call()
        return proxy(stream, call, call.text, closer)


class Pull:
    """A stream of letters as a class, iterable both ways, that notes its closing; it may end in an error."""

    def __init__(self, letters: str = "abc", error: BaseException | None = None) -> None:
        self._letters = iter(letters)
        self._error = error
        self.label = "mine"
        self.closed = 0

    def _pull(self, end: type[Exception]) -> str:
        for letter in self._letters:
            return letter
        raise self._error or end

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return self._pull(StopIteration)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        return self._pull(StopAsyncIteration)

    def close(self) -> str:
        self.closed += 1
        return "closed"

    async def aclose(self) -> None:
        self.closed += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def letters(text: str = "abc") -> Iterator[str]:
    yield from text


async def aletters(text: str = "abc") -> AsyncIterator[str]:
    for letter in text:
        yield letter
