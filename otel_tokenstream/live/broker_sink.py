"""The common part of broker sinks: batches, retries while the broker is away, and a count of lost events.

While a broker is away its sink holds on to one batch and takes no more, so events wait in the
bounded queue before it, whose overflow is counted there. What the sink itself gives up is
counted here: what is left when it is closed, and what the broker has no queue for.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Protocol

from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.live.sink import lost
from otel_tokenstream.live.wire import Numbering, Sent

if TYPE_CHECKING:
    from otel_tokenstream.live.events import Event

_logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Broker(Protocol):
    """A connection that is made when it is first needed and made anew after an error."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Exceptions that mean that a broker is away or refuses."""

    @property
    def unroutable(self) -> int:
        """Events so far that it confirmed and has no place for."""

    def publish(self, batch: list[Sent]) -> None:
        """Take out of ``batch`` what the broker has confirmed."""

    def disconnect(self) -> None:
        """Close the connection, whatever state it is in."""

    def forget(self) -> None:
        """Leave the connection to the parent process, whose it is."""


class BrokerSink:
    """A sink that publishes to a broker."""

    batch_size = 500

    def __init__(self, broker: Broker, label: str) -> None:
        self.published = 0
        """Events the broker has confirmed."""
        self.lost = 0
        """Events that this sink gave up; those that did not fit in the queue before it are its attachment's."""
        self._broker = broker
        self._label = label
        self._begin()

    def handle(self, event: Event) -> None:
        self._batch.append(Sent(self._number(event), event))
        if len(self._batch) >= self.batch_size:
            self.settle()

    def settle(self) -> None:
        """Publish what was collected, however long that takes until the sink is to hurry."""
        try:
            self._publish(self._batch)
        except Exception as problem:  # noqa: BLE001  # ours, or of what is in the events
            fault(f"publishing to {self._label}", problem)
            self._broker.disconnect()  # whatever state it is in now
        finally:
            self._lose(len(self._batch))
            self._batch.clear()

    def hurry(self, within: float) -> None:
        """Give up on what the broker has not taken ``within`` seconds from now; for other threads to call."""
        self._deadline = time.monotonic() + within
        self._hurrying.set()

    def close(self) -> None:
        self.settle()
        self._broker.disconnect()

    def forked(self) -> None:
        self._broker.forget()
        self._begin()

    def _begin(self) -> None:
        self._number = Numbering()
        self._batch: list[Sent] = []
        self._deadline = float("inf")
        self._hurrying = threading.Event()
        self._away = False
        self._unroutable = False

    def _publish(self, batch: list[Sent]) -> None:
        broker, pause = self._broker, FIRST_PAUSE
        while batch and not (self._away and time.monotonic() >= self._deadline):
            held, unroutable = len(batch), broker.unroutable
            try:
                broker.publish(batch)
                self._tell_back()
            except broker.errors as problem:
                broker.disconnect()
                self._tell_away(problem)
                # Drawn, so that not all programs come at once when the broker is back.
                self._rest(pause * random.uniform(0.5, 1))  # noqa: S311  # no secret
                pause = min(pause * 2, LONGEST_PAUSE)
            finally:
                unroutable = broker.unroutable - unroutable
                self.published += held - len(batch) - unroutable
                if unroutable:
                    self._tell_unroutable()
                    self._lose(unroutable)

    def _rest(self, seconds: float) -> None:
        if self._hurrying.wait(seconds):
            time.sleep(max(min(FIRST_PAUSE, self._deadline - time.monotonic()), 0))

    def _lose(self, count: int) -> None:
        if count:
            self.lost += count
            lost(type(self).__name__, count)

    def _tell_away(self, problem: Exception) -> None:
        if not self._away:
            self._away = True
            _logger.warning(
                "otel-tokenstream: %s takes no events (%s). The program is not affected; events wait in a bounded "
                "queue, and those that do not fit are counted in tokenstream.live.dropped.",
                self._label,
                # Without its text, which may quote the message.
                type(problem).__qualname__,
            )

    def _tell_unroutable(self) -> None:
        if not self._unroutable:
            self._unroutable = True
            _logger.warning(
                "otel-tokenstream: %s has nobody to give events to; they are lost until a consumer was started once. "
                "To keep them for one that comes later, name its queue: RabbitMQSink(..., queue=...).",
                self._label,
            )

    def _tell_back(self) -> None:
        if self._away:
            self._away = False
            _logger.info("otel-tokenstream: %s takes events again.", self._label)
