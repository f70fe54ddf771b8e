"""Live events to a RabbitMQ exchange: one persistent message an event, each confirmed by the broker."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

try:
    import pika  # type: ignore[import-untyped]  # pika does not declare its types
    from pika.exceptions import (  # type: ignore[import-untyped]  # as above
        AMQPConnectionError,
        AMQPError,
        NackError,
    )
except ModuleNotFoundError as error:
    message = 'RabbitMQ needs the rabbitmq extra: pip install "otel-tokenstream[rabbitmq]"'
    raise ModuleNotFoundError(message, name=error.name) from None

from otel_tokenstream.live.broker_sink import BrokerSink
from otel_tokenstream.live.wire import Sent, to_json

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

EXCHANGE = "tokenstream"
_TIMEOUT = 10.0


class RabbitMQSink(BrokerSink):
    """Publishes to a durable topic exchange, with the event's type as routing key; for ``attach``.

    Every queue that is bound to the exchange gets a copy. ``queue`` is made and bound before the
    first event, so that events wait there for a consumer that is still to come. ``expire`` is how
    many seconds a message waits to be consumed (None: as long as its queue lets it). ``amqps://``
    is TLS; ``ssl_context`` says with which certificates, the system's by default.
    """

    def __init__(
        self,
        url: str,
        *,
        exchange: str = EXCHANGE,
        queue: str | None = None,
        expire: float | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        parameters = parameters_of(url, ssl_context)
        broker = _Exchange(parameters, exchange, queue, expire)
        super().__init__(broker, f"RabbitMQ at {parameters.host}:{parameters.port}")


def parameters_of(url: str, ssl_context: ssl.SSLContext | None) -> Any:
    """Return how to connect: without heartbeats, as nobody would answer them between two batches or long handlers."""
    parameters = pika.URLParameters(url)
    if ssl_context is not None:
        parameters.ssl_options = pika.SSLOptions(ssl_context, parameters.host)
    parameters.heartbeat = 0
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = _TIMEOUT
    return parameters


def bound(channel: Any, exchange: str, queue: str | None, done: Callable[[], object] | None = None) -> None:
    """Declare the exchange and the queue on a blocking channel, or on another one, which calls ``done`` when it is.

    Of several consumers of the queue one is served at a time: a stream in two processes is whole in neither.
    """
    last = {"callback": lambda _: done()} if done is not None else {}
    durable = {"exchange_type": "topic", "durable": True}
    if queue is None:
        channel.exchange_declare(exchange, **durable, **last)
        return
    channel.exchange_declare(exchange, **durable)
    channel.queue_declare(queue, durable=True, arguments={"x-single-active-consumer": True})
    channel.queue_bind(queue, exchange, "#", **last)


class _Exchange:
    errors = (AMQPError, OSError)

    def __init__(self, parameters: Any, name: str, queue: str | None, expire: float | None) -> None:
        self._parameters = parameters
        self._name = name
        self._queue = queue
        self._expiration = None if expire is None else str(max(round(expire * 1_000), 1))
        self._session: _Session | None = None
        self.unroutable = 0

    def publish(self, batch: list[Sent]) -> None:
        with quiet():
            if self._session is None:
                self._session = _Session(self._parameters, self._name, self._queue)
            session, rest = self._session, iter(batch)
            try:
                for sent in rest:
                    session.send(sent, self._name, self._expiration)
                session.settle()
            finally:
                # Unconfirmed events are sent again after a lost connection: receivers know them by their numbers.
                batch[:] = [*session.unconfirmed.values(), *rest]
                self.unroutable += session.unroutable
                session.unroutable = 0

    def disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with quiet():
                session.close()

    def forget(self) -> None:
        self._session = None


class _Session:
    """A connection with one channel, whose callbacks run while somebody waits here."""

    def __init__(self, parameters: Any, exchange: str, queue: str | None) -> None:
        self._problem: BaseException | None = None
        self._ready = False
        self._sent = 0
        self._returned: set[str] = set()
        self.unconfirmed: dict[int, Sent] = {}
        self.unroutable = 0
        self._topology = exchange, queue
        self._connection = pika.SelectConnection(
            parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=self._broken,
            on_close_callback=self._broken,
        )
        try:
            self._wait(lambda: self._ready)
        except BaseException:
            self.close()
            raise

    def send(self, sent: Sent, exchange: str, expiration: str | None) -> None:
        self._sent += 1
        self.unconfirmed[self._sent] = sent
        about = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, expiration=expiration, message_id=_message_id(sent)
        )
        self._channel.basic_publish(exchange, sent.event.type, to_json(sent), about, mandatory=True)

    def settle(self) -> None:
        """Wait until the broker has confirmed every message.

        Raises:
            AMQPError: it refused one, did not answer in time, or is gone.

        """
        self._wait(lambda: not self.unconfirmed)

    def close(self) -> None:
        if not (self._connection.is_closed or self._connection.is_closing):
            self._problem = None
            with suppress(AMQPError):
                self._connection.close()
        with suppress(AMQPError, OSError):
            self._wait(lambda: self._connection.is_closed, within=1.0)
        self._connection.ioloop.close()

    def _opened(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._broken)
        channel.add_on_return_callback(lambda _channel, _method, about, _body: self._returned.add(about.message_id))
        channel.confirm_delivery(self._confirmed)
        bound(channel, *self._topology, self._usable)

    def _usable(self) -> None:
        self._ready = True
        self._connection.ioloop.stop()

    def _confirmed(self, frame: Any) -> None:
        answer = frame.method
        if isinstance(answer, pika.spec.Basic.Nack):
            self._broken(None, NackError([]))
            return
        up_to = answer.delivery_tag
        for tag in [tag for tag in self.unconfirmed if tag <= up_to] if answer.multiple else (up_to,):
            sent = self.unconfirmed.pop(tag)
            if self._returned and _message_id(sent) in self._returned:  # no queue wanted it
                self._returned.discard(_message_id(sent))
                self.unroutable += 1
        if not self.unconfirmed:
            self._connection.ioloop.stop()

    def _broken(self, _: Any, problem: Any) -> None:
        self._problem = problem
        self._connection.ioloop.stop()

    def _wait(self, done: Callable[[], bool], within: float = _TIMEOUT) -> None:
        loop = self._connection.ioloop
        timer = loop.call_later(within, lambda: self._broken(None, AMQPConnectionError("no answer in time")))
        # A stop that was asked for while the loop did not run ends its next run at once.
        while not done() and self._problem is None:
            loop.start()
        loop.remove_timeout(timer)
        if self._problem is not None:
            raise self._problem


def _message_id(sent: Sent) -> str:
    return f"{sent.event.stream_id}:{sent.seq}"


class _Quiet(logging.Filter):
    """Keeps what pika logs in threads of ours to itself: several errors at each attempt to connect."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: Counter[int | None] = Counter()
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("pika."):
                logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.threads[record.thread]


_quiet = _Quiet()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pika from logging in this thread: outages are ours to tell, once."""
    here = threading.get_ident()
    _quiet.threads[here] += 1
    try:
        yield
    finally:
        _quiet.threads[here] -= 1
