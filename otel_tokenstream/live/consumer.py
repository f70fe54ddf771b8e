"""Reads live events of other processes from a broker, calls handlers, and puts texts together.

A stream's events are acknowledged together, after the handlers of its end. Until then the broker
keeps them: a consumer that is killed reads its unfinished streams from their beginnings when it
runs again, and needs to keep nothing itself.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import secrets
import socket
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from otel_tokenstream.live.events import TYPES, Event
from otel_tokenstream.live.rebuilding import Streams, StreamText
from otel_tokenstream.live.wire import ENDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from otel_tokenstream.live.wire import Sent

    Handler = Callable[[Any], Any]

_logger = logging.getLogger(__name__)

# So that stop() is heard.
_LONGEST_READ = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

HandlerT = TypeVar("HandlerT", bound="Callable[[Any], Any]")


class Source(Protocol):
    """Delivers events, again and again until they are acknowledged."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Exceptions that mean that the broker is away or refuses."""

    def read(self, within: float) -> list[tuple[Any, Sent | None]]: ...

    def acknowledge(self, tags: list[Any]) -> None: ...

    def close(self) -> None:
        """Disconnect; the next read connects again, and delivers again what is not acknowledged."""


class TokenConsumer:
    """Consumes what ``RedisSink`` or ``RabbitMQSink`` published.

        consumer = TokenConsumer("redis://localhost:6379", group="archive")

        @consumer.on("end")
        def keep(event):
            store(event.stream_id, consumer.text(event.stream_id, "answer"))

        consumer.run()

    Each ``group`` gets everything. Of the consumers of one group one reads, and another takes over
    when that one goes: a stream that is read by two would be whole in neither. ``name`` is a
    consumer's among its group; one that was killed and comes back under its name need not wait
    until its ``lease`` (seconds, Redis only) runs out.

    A stream that nothing came of for ``expire`` seconds is given up, as is the longest untouched
    one beyond ``max_streams``. ``options`` go to ``redis.Redis``.
    """

    def __init__(
        self,
        url: str,
        *,
        group: str = "tokenstream",
        name: str | None = None,
        stream_key: str = "tokenstream:tokens",
        exchange: str = "tokenstream",
        queue: str | None = None,
        expire: float = 600.0,
        max_streams: int = 10_000,
        lease: float = 15.0,
        ssl_context: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        scheme = urlsplit(url).scheme
        self._source: Source
        if scheme in ("redis", "rediss", "unix"):
            from otel_tokenstream.live.redis_group import RedisGroup  # noqa: PLC0415  # an extra

            self._source = RedisGroup(url, stream_key, group, name, lease, options)
        elif scheme in ("amqp", "amqps"):
            from otel_tokenstream.live.rabbitmq_queue import RabbitMQQueue  # noqa: PLC0415  # an extra

            self._source = RabbitMQQueue(url, exchange, queue or f"{exchange}.{group}", ssl_context)
        else:
            message = f"a broker's URL begins with redis://, rediss://, unix://, amqp:// or amqps://, not {scheme!r}"
            raise ValueError(message)
        self.expired = 0
        """Streams that were given up before their ends came."""
        self.skipped = 0
        """Messages that were not ours to read: foreign ones, or of a later version."""
        self._handlers: dict[str, list[Handler]] = {each: [] for each in TYPES}
        self._streams = Streams(expire, max_streams)
        self._ready: deque[tuple[Any, Sent | None]] = deque()
        # The event handed out last: it is acknowledged when the next one is requested.
        self._given: Event | None = None
        self._failed = False
        self._pause = 0.0
        self._reading = threading.Lock()
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def on(self, type: str) -> Callable[[HandlerT], HandlerT]:
        """Register a function for events of a type; it may be async."""
        if type not in self._handlers:
            message = f"there are no events of type {type!r}; there are {', '.join(self._handlers)}"
            raise ValueError(message)

        def register(handler: HandlerT) -> HandlerT:
            self._handlers[type].append(handler)
            return handler

        return register

    def stream(self, stream_id: str) -> StreamText:
        """Return what was read of a stream, until its end was handled.

        Raises:
            KeyError: nothing was, or it is over.

        """
        held = self._streams.get(stream_id)
        if held is None:
            raise KeyError(stream_id)
        return held.text

    def text(self, stream_id: str, field: str | None = None) -> str:
        """Return the visible text of a stream so far, in order: of one output field, or of all there is."""
        return self.stream(stream_id).text(field)

    def consume_one(self, timeout: float | None = None) -> Event | None:
        """Wait for the next event and call its handlers; None if there is none within ``timeout`` seconds.

        It is settled when the next one is asked for: a program that ends before gets it again. An
        exception of a handler is passed on, and the stream is read again.
        """
        with self._failing():
            for within in self._waits(timeout):
                event = self._next(within)
                if event is not None:
                    for result in self._results(event):
                        self._own_loop().run_until_complete(result)
                    return event
        return None

    async def aconsume_one(self, timeout: float | None = None) -> Event | None:
        """Do as ``consume_one``; handlers run in the caller's loop, and waiting does not block it."""
        with self._failing():
            for within in self._waits(timeout):
                event = await asyncio.to_thread(self._next, within)
                if event is not None:
                    for result in self._results(event):
                        await result
                    return event
        return None

    def run(self) -> None:
        """Consume until ``stop`` is called, then close."""
        try:
            while not self._stopped.is_set():
                self.consume_one()
        finally:
            self._stopped.clear()
            self.close()

    async def arun(self) -> None:
        """Do as ``run``, in the caller's loop."""
        try:
            while not self._stopped.is_set():
                await self.aconsume_one()
        finally:
            self._stopped.clear()
            await asyncio.to_thread(self.close)

    def stop(self) -> None:
        """End ``run`` after the event in hand; any thread and a signal handler may call it."""
        self._stopped.set()

    def close(self) -> None:
        """Settle what was handled and disconnect; unfinished streams are read again by whoever is next."""
        with self._reading:
            self._settle()
            self._disconnect()
            if self._loop is not None:
                self._loop.close()
                self._loop = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._failed = self._failed or kind is not None
        self.close()

    def _waits(self, timeout: float | None) -> Iterator[float]:
        """Yield how long to wait, until the time is over or ``stop`` is called."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        yield 0.0
        while not self._stopped.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            yield min(left, _LONGEST_READ)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:  # a task that is cancelled leaves a read behind
            self._failed = True
            raise

    def _results(self, event: Event) -> Iterator[Awaitable[object]]:
        for handler in self._handlers[event.type]:
            result = handler(event)
            if inspect.isawaitable(result):
                yield result

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop

    def _next(self, within: float) -> Event | None:
        with self._reading:
            self._settle()
            if not self._ready:
                self._read(within)
            while self._ready:
                event = self._fresh(*self._ready.popleft())
                if event is not None:
                    self._given = event
                    return event
            return None

    def _fresh(self, tag: Any, sent: Sent | None) -> Event | None:
        """Return the event of a delivery, if it is one and was not given before."""
        if sent is None:
            self.skipped += 1
            self._acknowledge([tag])
            return None
        held = self._streams.touch(sent.event.stream_id)
        if held is None:
            self._acknowledge([tag])
            return None
        held.tags[tag] = None
        return sent.event if held.text.add(sent) else None

    def _settle(self) -> None:
        given, self._given = self._given, None
        if self._failed:
            self._failed = False
            if given is not None:
                self._streams.drop(given.stream_id)
            self._disconnect()
        elif isinstance(given, ENDS):
            self._finish(given.stream_id)

    def _finish(self, stream_id: str) -> None:
        tags = self._streams.finish(stream_id)
        if tags:
            self._acknowledge(tags)

    def _acknowledge(self, tags: list[Any]) -> None:
        try:
            self._source.acknowledge(tags)
        except self._source.errors as problem:
            self._tell_away(problem)
            self._disconnect()

    def _read(self, within: float) -> None:
        try:
            self._ready.extend(self._source.read(within))
        except self._source.errors as problem:
            self._tell_away(problem)
            self._disconnect()
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._stopped.wait(min(self._pause, within))
        else:
            self._tell_back()
        for stream_id in self._streams.overdue():
            self.expired += 1
            self._finish(stream_id)

    def _disconnect(self) -> None:
        """Let go of the broker, which then delivers everything unsettled again."""
        self._ready.clear()
        self._streams.untag()
        self._source.close()

    def _tell_away(self, problem: Exception) -> None:
        if not self._pause:
            self._pause = _FIRST_PAUSE
            _logger.warning(
                "otel-tokenstream: the broker is not to be read from (%s); the consumer goes on trying.",
                type(problem).__qualname__,
            )

    def _tell_back(self) -> None:
        if self._pause:
            self._pause = 0.0
            _logger.info("otel-tokenstream: the broker is read from again.")
