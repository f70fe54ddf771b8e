"""The text of token events, where content is captured on events.

A run is neighbouring text of one kind and field. What a redaction hook withholds comes with
the last event that has text of its run; in log records, which are sent while the stream runs,
with a record of its own that counts no chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.core.redaction import Gate
from otel_tokenstream.core.text import cut, head, left_out, size
from otel_tokenstream.core.timeline import Passage, TokenEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_tokenstream.settings import Settings


def event_texts(events: Sequence[TokenEvent], settings: Settings, missing: int) -> list[str]:
    """Return the text of each event; ``missing`` bytes were not kept at all, and the last text says so."""
    texts = [""] * len(events)
    run: _Run | None = None
    last = 0
    for at, event in enumerate(events):
        for passage in event.passages or ():
            if run is None or not run.goes_on(passage):
                if run is not None:
                    texts[last] += run.gate.close()
                run = _Run(passage, settings)
            texts[at] += run.gate.feed(passage.text)
            last = at
    if run is None:
        return texts
    texts[last] += run.gate.close(torn=missing > 0)
    budget = _Budget(settings.content_share, settings.value_limit)
    texts = [budget.fitted(text) for text in texts]
    if missing + budget.missing:
        texts[last] += left_out(missing + budget.missing)
    return texts


class LiveText:
    """The text of one stream's log records."""

    __slots__ = ("_budget", "_last", "_run", "_settings")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._budget = _Budget(settings.content_limit, settings.value_limit)
        self._run: _Run | None = None
        self._last: TokenEvent | None = None

    def events(self, event: TokenEvent) -> Iterator[tuple[TokenEvent, str]]:
        """Yield the event with its text, and before it what was withheld until now."""
        text = ""
        for passage in event.passages or ():
            if self._run is None or not self._run.goes_on(passage):
                yield from self._rest(torn=False)
                self._run = _Run(passage, self._settings)
            text += self._run.gate.feed(passage.text)
            self._last = event
        yield event, self._budget.fitted(text)

    def close(self, missing: int) -> Iterator[tuple[TokenEvent, str]]:
        """Yield what was withheld, and how many bytes were left out of all; ``missing`` were not kept."""
        yield from self._rest(torn=missing > 0)
        missing += self._budget.missing
        if missing and self._last is not None:
            yield _textual(self._last), left_out(missing)

    def _rest(self, *, torn: bool) -> Iterator[tuple[TokenEvent, str]]:
        if self._run is not None and self._last is not None:
            text = self._budget.fitted(self._run.gate.close(torn=torn))
            if text:
                yield _textual(self._last), text


class _Run:
    __slots__ = ("field", "gate", "kind")

    def __init__(self, passage: Passage, settings: Settings) -> None:
        self.kind = passage.kind
        self.field = passage.field
        self.gate = Gate(settings.redact, passage.kind)

    def goes_on(self, passage: Passage) -> bool:
        return passage.kind == self.kind and passage.field == self.field


class _Budget:
    __slots__ = ("_left", "_longest", "missing")

    def __init__(self, limit: int, longest: int) -> None:
        self._left = limit
        self._longest = longest
        self.missing = 0

    def fitted(self, text: str) -> str:
        """Return what a value may hold of a text, and what is left for all of them."""
        if not text:
            return text
        kept = cut(text, self._longest)
        if size(kept) > self._left:
            kept = head(text, self._left)
            self.missing += size(text) - size(kept)
            self._left = 0
        else:
            self._left -= size(kept)
        return kept


def _textual(event: TokenEvent) -> TokenEvent:
    """Return an event that says where its text belongs and counts nothing a second time."""
    return TokenEvent(event.arrived, 0, event.index + max(event.count - 1, 0), 0, 0, 0, event.kind, event.field)
