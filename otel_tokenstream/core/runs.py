"""The texts of one stream, each through a gate of its own, for they may come by turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from otel_tokenstream.core.redaction import Gate

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from otel_tokenstream.core.redaction import Hook

Key = tuple[str, "str | None"]  # kind and field

T = TypeVar("T")


class Runs(Generic[T]):
    """A run is all text of one kind and field, whatever comes between its pieces.

    Only a program's output fields are known to follow one another: one has ended where the next
    begins. What a gate withholds until then belongs to whatever the newest piece came with.
    """

    def __init__(self, hook: Hook | None) -> None:
        self._hook = hook
        self._gates: dict[Key, Gate] = {}
        self._newest: dict[Key, T] = {}

    def feed(self, key: Key, text: str, came_with: T) -> str:
        """Take a piece and return what may leave by now; see ``begin``."""
        self._newest[key] = came_with
        return self._gates[key].feed(text)

    def begin(self, key: Key) -> Iterator[tuple[T, str]]:
        """Make ready for a piece of ``key``, and yield what was withheld of fields that have ended."""
        if key in self._gates:
            return
        if key[1] is not None:
            for ended in [each for each in self._gates if each[1] is not None]:
                yield from self._end(ended)
        self._gates[key] = Gate(self._hook, key[0])

    def close(self, torn: Container[Key] = ()) -> Iterator[tuple[T, str]]:
        """Yield what was withheld of all; of the ``torn`` ones the end is not known."""
        for key in list(self._gates):
            yield from self._end(key, torn=key in torn)

    def _end(self, key: Key, *, torn: bool = False) -> Iterator[tuple[T, str]]:
        text = self._gates.pop(key).close(torn=torn)
        if key in self._newest and text:
            yield self._newest[key], text
