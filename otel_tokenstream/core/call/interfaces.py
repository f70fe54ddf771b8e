"""The parts that a call needs: its recorder, its live observers and the parser of its output fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.timeline import Row


class Live(Protocol):
    """Takes each row as it comes, with its ``text`` if it wants that, and is told of reads that are blocked right now.

    ``close`` comes once, when the call has ended.
    """

    text: bool

    def __call__(self, call: ModelCall, row: Row, /) -> None: ...

    def stalled(self, call: ModelCall, since: int, at: int, phase: str, /) -> None: ...

    def close(self, call: ModelCall, /) -> None: ...


class CallRecorder(Protocol):
    """Turns a call into signals.

    ``observed`` says whether anybody wants to know; ``live`` is there if anybody wants it
    while the stream runs, and ``instruments`` if anybody measures it.
    """

    observed: bool

    @property
    def instruments(self) -> object: ...

    @property
    def live(self) -> Live | None: ...

    def finish(self, call: ModelCall) -> None: ...


class StreamWatch(Protocol):
    """Watches over the stream of a call, and notes where it is dropped."""

    def cancel(self) -> None:
        """Watch no more: the call has ended."""


class Parser(Protocol):
    """Attributes text to output fields, for any split into chunks."""

    def feed(self, text: str) -> list[tuple[str, str]]: ...

    def finish(self) -> list[tuple[str, str]]: ...
