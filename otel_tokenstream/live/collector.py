"""A collector that keeps all events, for tests, scripts, and answers that are also wanted as a whole."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from otel_tokenstream.live.event_queue import UNBOUNDED, EventQueue, Wanted
from otel_tokenstream.live.events import Event, TokenEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from typing_extensions import Self


class TokenCollector:
    """Keeps the events of all calls that start while its ``with`` block lasts.

        with TokenCollector() as collected:
            program(question=question)
        collected.get_text("answer")

    Nothing is dropped and no thread is needed: it takes as much memory as was said.
    """

    def __init__(
        self,
        *,
        fields: Collection[str] | None = None,
        operation: str | None = None,
        correlation: Mapping[str, str] | None = None,
        text: bool = True,
    ) -> None:
        wanted = Wanted.of(fields=fields, operation=operation, correlation=correlation)
        self._queue = EventQueue(wanted, "collector", text=text, capacity=UNBOUNDED)
        self._events: list[Event] = []
        self._reading = threading.Lock()

    @property
    def events(self) -> list[Event]:
        """All events so far, in order."""
        with self._reading:
            self._events.extend(self._queue.read())
            return list(self._events)

    @property
    def tokens(self) -> list[TokenEvent]:
        return [event for event in self.events if isinstance(event, TokenEvent)]

    @property
    def fields(self) -> dict[str, str]:
        """Text of each output field so far."""
        found: dict[str, list[str]] = {}
        for token in self.tokens:
            if token.field is not None:
                found.setdefault(token.field, []).append(token.text or "")
        return {field: "".join(texts) for field, texts in found.items()}

    def get_text(self, field: str | None = None) -> str:
        """Return the visible text so far, of one output field or of all there is."""
        return "".join(
            token.text or "" for token in self.tokens if token.kind == "text" and field in (None, token.field)
        )

    def close(self) -> None:
        """Take no more; what came stays."""
        self._queue.shut()

    def __enter__(self) -> Self:
        self._queue.open(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
