"""Live events out of a RabbitMQ queue: what is not acknowledged is delivered again."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pika  # type: ignore[import-untyped]  # pika does not declare its types
from pika.exceptions import AMQPChannelError, AMQPError  # type: ignore[import-untyped]  # as above

from otel_tokenstream.live.rabbitmq import bound, parameters_of, quiet
from otel_tokenstream.live.wire import WireError, from_json

if TYPE_CHECKING:
    import ssl

    from otel_tokenstream.live.wire import Sent


class _Connection(pika.SelectConnection):  # type: ignore[misc]  # as above
    """Reads on where pika cannot decode the properties of a message, such as a header that is NaN.

    Its error would end the consumer, and the broker would deliver the message again to the next one. No property
    is used here.
    """

    def _read_frame(self) -> tuple[int, Any]:
        try:
            read: tuple[int, Any] = super()._read_frame()
        except Exception:
            kind, channel, size = struct.unpack_from(">BHL", self._frame_buffer)
            if kind != pika.spec.FRAME_HEADER:
                raise
            start = pika.spec.FRAME_HEADER_SIZE
            (body_size,) = struct.unpack_from(">Q", self._frame_buffer, start + 4)
            end = start + size + pika.spec.FRAME_END_SIZE
            return end, pika.frame.Header(channel, body_size, pika.BasicProperties())
        return read


class RabbitMQQueue:
    """Reads a durable queue that serves one consumer at a time; the others wait for it to go.

    A stream in two processes would be whole in neither.
    """

    errors = (AMQPError, OSError)

    def __init__(self, url: str, exchange: str, queue: str, ssl_context: ssl.SSLContext | None) -> None:
        self._parameters = parameters_of(url, ssl_context)
        self._exchange = exchange
        self._queue = queue
        self._connection: Any = None
        self._read: list[tuple[int, Sent | None]] = []

    def read(self, within: float) -> list[tuple[int, Sent | None]]:
        """Return tags with events, None for what is not ours; wait for the first at most so many seconds."""
        with quiet():
            if self._connection is None:
                self._connect()
            self._connection.process_data_events(time_limit=within)
            if not self._channel.is_open:
                raise AMQPChannelError
        read, self._read = self._read, []
        return read

    def acknowledge(self, tags: list[int]) -> None:
        with quiet():
            # Its end first: where only some get through, the stream has no end when it is read again.
            for tag in reversed(tags):
                self._channel.basic_ack(tag)
            # Acknowledgements are not answered; this is, after them.
            self._channel.basic_qos()

    def close(self) -> None:
        connection, self._connection, self._read = self._connection, None, []
        if connection is not None:
            with quiet(), suppress(AMQPError, OSError):
                connection.close()

    def _connect(self) -> None:
        self._connection = pika.BlockingConnection(self._parameters, _impl_class=_Connection)
        self._channel = self._connection.channel()
        bound(self._channel, self._exchange, self._queue)
        # Where the queue is deleted the broker only says that it has ended.
        self._channel.add_on_cancel_callback(lambda _: self._channel.close())
        # No limit of unacknowledged messages: a stream's are held until its end, and streams come side by side.
        self._channel.basic_consume(self._queue, self._take)

    def _take(self, _: Any, method: Any, __: Any, body: bytes) -> None:
        try:
            sent = from_json(body)
        except WireError:
            sent = None
        self._read.append((method.delivery_tag, sent))
