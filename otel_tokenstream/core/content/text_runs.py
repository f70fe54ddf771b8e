"""The texts of one stream, each redacted as a whole although their pieces may come in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from otel_tokenstream.core.content.redaction import StreamingRedactor

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from otel_tokenstream.core.call.timeline_events import Key
    from otel_tokenstream.core.content.redaction import RedactionHook

T = TypeVar("T")


class Runs(Generic[T]):
    """A run is all text of one kind, field and tool call, whatever comes between its pieces.

    Only a program's output fields are known to follow one another: one has ended where the next
    begins. What a redactor withholds until then belongs to whatever the newest piece came with. Where
    all runs together withhold more than ``longest_withheld`` characters, the newest one is shut.
    """

    def __init__(self, hook: RedactionHook | None, *, elided: bool = True, longest_withheld: int | None = None) -> None:
        self._hook = hook
        self._elided = elided
        self._longest_withheld = longest_withheld
        self._withheld = 0  # characters
        self._runs: dict[Key, _Run] = {}
        self._newest: dict[Key, T] = {}

    def feed(self, key: Key, text: str, came_with: T) -> str:
        """Take a piece and return what may leave by now; see ``begin``."""
        self._newest[key] = came_with
        run = self._runs[key]
        before = run.withheld
        passing = run.feed(text)
        self._withheld += run.withheld - before
        if self._longest_withheld is not None and self._withheld > self._longest_withheld:
            self._withheld -= run.shut()
        return passing

    def begin(self, key: Key) -> Iterator[tuple[T, str]]:
        """Make ready for a piece of ``key``, and yield what was withheld of fields that have ended."""
        if key in self._runs:
            return
        if key[1] is not None:
            for ended in [each for each in self._runs if each[1] is not None]:
                yield from self._end(ended)
        self._runs[key] = _Run(StreamingRedactor(self._hook, key[0], elided=self._elided))

    def shut(self, key: Key) -> None:
        """Let nothing more leave of a run: of its text a piece is lost."""
        self._withheld -= self._runs.setdefault(key, _Run(None)).shut()

    def close(self, torn: Container[Key] = ()) -> Iterator[tuple[T, str]]:
        """Yield what was withheld of all; of the ``torn`` ones the end is not known."""
        for key in list(self._runs):
            yield from self._end(key, torn=key in torn)

    def _end(self, key: Key, *, torn: bool = False) -> Iterator[tuple[T, str]]:
        run = self._runs.pop(key)
        self._withheld -= run.withheld
        text = run.close(torn=torn)
        if key in self._newest and text:
            yield self._newest[key], text


class _Run:
    """The text of one kind, field and tool call; without a redactor nothing of it leaves."""

    __slots__ = ("_redactor", "withheld")

    def __init__(self, redactor: StreamingRedactor | None) -> None:
        self._redactor = redactor
        self.withheld = 0  # characters

    def feed(self, text: str) -> str:
        if self._redactor is None:
            return ""
        passing = self._redactor.feed(text)
        self.withheld += len(text) - len(passing)
        return passing

    def shut(self) -> int:
        """Let go of the text, and return how many characters were withheld."""
        withheld, self.withheld, self._redactor = self.withheld, 0, None
        return withheld

    def close(self, *, torn: bool) -> str:
        return "" if self._redactor is None else self._redactor.close(torn=torn)
