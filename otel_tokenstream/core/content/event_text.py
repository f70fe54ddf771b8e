"""The text of token events, where content is captured on events.

What a redaction hook withholds comes with the last event that has text of its run; in log
records, which are sent while the stream runs, with a record of its own that counts no chunk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.core.call.timeline_events import TimelineEvent
from otel_tokenstream.core.content.text_runs import Runs
from otel_tokenstream.core.runtime.sanitize import cut, head, left_out, size

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from otel_tokenstream.core.call.timeline_events import Key, PackedEvents
    from otel_tokenstream.settings import Settings


def event_texts(events: PackedEvents, settings: Settings, missing: int, torn: Container[Key]) -> list[str]:
    """Return the text of each event.

    ``missing`` bytes were not kept at all, of the ``torn`` runs; the last text says so.
    """
    texts = [""] * len(events)
    if not events.have_text:
        return texts
    runs: Runs[int] = Runs(settings.redact)
    last = -1
    for at, event in enumerate(events):
        for passage in event.passages or ():
            for before, text in runs.begin(passage.key):
                texts[before] += text
            texts[at] += runs.feed(passage.key, passage.text, at)
            last = at
    if last < 0:
        return texts
    for before, text in runs.close(torn):
        texts[before] += text
    budget = _Budget(settings.content_share, settings.value_limit)
    texts = [budget.fitted(text) for text in texts]
    if missing + budget.missing:
        texts[last] += left_out(missing + budget.missing)
    return texts


class Late(TimelineEvent):
    """Says where text belongs that was withheld until now, and counts nothing a second time."""

    __slots__ = ()


class LiveText:
    """The text of one stream's log records."""

    __slots__ = ("_budget", "_last", "_runs")

    def __init__(self, settings: Settings) -> None:
        self._budget = _Budget(settings.content_limit, settings.value_limit)
        self._runs: Runs[TimelineEvent] = Runs(settings.redact)
        self._last: TimelineEvent | None = None

    def events(self, event: TimelineEvent) -> Iterator[tuple[TimelineEvent, str]]:
        """Yield the event with its text, and before it what was withheld until now."""
        text = ""
        for passage in event.passages or ():
            yield from self._late(self._runs.begin(passage.key))
            text += self._runs.feed(passage.key, passage.text, event)
            self._last = event
        yield event, self._budget.fitted(text)

    def close(self, missing: int, torn: Container[Key]) -> Iterator[tuple[TimelineEvent, str]]:
        """Yield what was withheld, and how many bytes were left out; see ``event_texts``."""
        yield from self._late(self._runs.close(torn))
        missing += self._budget.missing
        if missing and self._last is not None:
            yield _late(self._last), left_out(missing)

    def _late(self, withheld: Iterator[tuple[TimelineEvent, str]]) -> Iterator[tuple[TimelineEvent, str]]:
        for event, text in withheld:
            fitted = self._budget.fitted(text)
            if fitted:
                yield _late(event), fitted


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


def _late(event: TimelineEvent) -> Late:
    return Late((event.arrived, 0, event.index + max(event.count - 1, 0), 0, 0, 0), event.key)
