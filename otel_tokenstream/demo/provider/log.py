"""The provider's own account of what it received and sent, to measure others against."""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_EXCHANGES = 10_000


@dataclass
class Exchange:
    """One request and its answer. Times are ``time.perf_counter_ns``, taken just before the write.

    On Linux every process reads the same clock, so that a client may compare its own stamps.
    """

    path: str
    model: str
    streamed: bool
    body: bytes
    headers: Mapping[str, str]
    received_ns: int
    headers_ns: int | None = None
    sent_ns: array[int] = field(default_factory=lambda: array("q"))
    kinds: list[str] = field(default_factory=list)
    """The type of each frame: a kind of piece, or finish, usage, error, done; body for a plain answer."""
    ended: str = "open"
    """open, finished, failed (an HTTP error), cut, or disconnected: the client went first."""
    ended_ns: int | None = None

    def sent(self, *kinds: str) -> list[int]:
        """Send times of the frames of these kinds."""
        return [at for at, kind in zip(self.sent_ns, self.kinds, strict=True) if kind in kinds]

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "model": self.model,
            "streamed": self.streamed,
            "body": self.body.decode(errors="replace"),
            "headers": dict(self.headers),
            "received_ns": self.received_ns,
            "headers_ns": self.headers_ns,
            "sent_ns": list(self.sent_ns),
            "kinds": self.kinds,
            "ended": self.ended,
            "ended_ns": self.ended_ns,
        }


class ExchangeLog:
    """The newest exchanges, oldest first. Safe to read from any thread."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=KEPT_EXCHANGES)
        self._changed = threading.Condition()
        self._requests_of: dict[str, int] = {}

    def open(self, exchange: Exchange) -> int:
        """Add a request; returns how many its model had before since the last clearing."""
        with self._changed:
            self._exchanges.append(exchange)
            before = self._requests_of.get(exchange.model, 0)
            self._requests_of[exchange.model] = before + 1
            self._changed.notify_all()
            return before

    def close(self, exchange: Exchange, ended: str) -> None:
        """Say how a request ended; only the first word counts."""
        with self._changed:
            if exchange.ended == "open":
                exchange.ended_ns = time.perf_counter_ns()
                exchange.ended = ended
                self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._exchanges.clear()
            self._requests_of.clear()

    def exchanges(self) -> list[Exchange]:
        with self._changed:
            return list(self._exchanges)

    def settled(self, count: int = 1, within: float = 60.0) -> list[Exchange]:
        """Wait until at least ``count`` requests came and none is open; TimeoutError after ``within`` seconds."""

        def done() -> bool:
            return len(self._exchanges) >= count and all(exchange.ended != "open" for exchange in self._exchanges)

        with self._changed:
            if not self._changed.wait_for(done, within):
                states = [f"{exchange.model}: {exchange.ended}" for exchange in self._exchanges]
                msg = f"expected {count} requests to have ended within {within} s, have {states}"
                raise TimeoutError(msg)
            return list(self._exchanges)
