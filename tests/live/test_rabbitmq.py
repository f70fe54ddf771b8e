from __future__ import annotations

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaitingError
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pika
import pytest
from pika.frame import decode_frame

from otel_tokenstream.live.events import EndEvent
from tests.live import unreal
from tests.live.brokers import RabbitMQ, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.live.consumer import TokenConsumer


@pytest.fixture
def route(rabbitmq_server: RabbitMQ) -> Iterator[Route]:
    return Route(rabbitmq_server)


def test_events_that_no_queue_takes_are_lost_and_told_once(route: Route, caplog: pytest.LogCaptureFixture) -> None:
    """RabbitMQ confirms them all the same; the sink knows better."""
    sink = route.sink(queue=None)
    with caplog.at_level(logging.INFO, "otel_tokenstream"):
        for stream_id in "ab":
            for event in unreal.stream("nobody", stream_id):
                sink.handle(event)
            sink.settle()
        assert (sink.published, sink.lost) == (0, 2 * len(unreal.stream("nobody")))
        assert ["nobody to give events to" in record.getMessage() for record in caplog.records] == [True]
        with route.consumer() as consumer:
            assert consumer.consume_one(0.3) is None
            for event in unreal.stream("somebody", "c"):
                sink.handle(event)
            sink.close()
            assert unreal.texts(consumer, 1) == ["somebody"]


def test_messages_are_persistent_and_expire(route: Route, rabbitmq_server: RabbitMQ) -> None:
    """They survive a restart of the broker, and wait no longer than they were told to."""
    sink = route.sink(expire=60)
    for event in unreal.stream("x"):
        sink.handle(event)
    sink.close()
    connection = rabbitmq_server.connection()
    method, about, _ = connection.channel().basic_get(f"{route.name}.readers", auto_ack=True)
    connection.close()
    assert (about.delivery_mode, about.expiration, about.content_type) == (2, "60000", "application/json")
    assert (method.routing_key, about.message_id) == ("start", "s:0")


def test_a_queue_of_ones_own_gets_only_the_types_it_is_bound_to(route: Route, rabbitmq_server: RabbitMQ) -> None:
    """The routing key is the event's type, for receivers that are not ours."""
    sink = route.sink(queue=None)
    unreal.publish(route, unreal.stream("first"))  # makes the exchange
    connection = rabbitmq_server.connection()
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, route.name, "end")
    for event in unreal.stream("x", "t"):
        sink.handle(event)
    sink.close()
    assert channel.basic_get(queue, auto_ack=True)[0].routing_key == "end"
    assert channel.basic_get(queue, auto_ack=True)[0] is None
    connection.close()


def test_a_queue_that_is_deleted_under_a_consumer_is_made_again(route: Route, rabbitmq_server: RabbitMQ) -> None:
    """The consumer notices that it is no longer served, and goes on with a new queue."""
    with route.consumer() as consumer:
        assert consumer.consume_one(0.2) is None
        connection = rabbitmq_server.connection()
        connection.channel().queue_delete(f"{route.name}.readers")
        connection.close()
        unreal.publish(route, unreal.stream("after"))
        assert unreal.texts(consumer, 1) == ["after"]


def test_a_batch_that_breaks_off_is_sent_to_its_end(route: Route) -> None:
    """A connection that is gone when the first of several messages is to be sent costs none of those behind it."""
    sink = route.sink()
    for event in unreal.stream("first", "a"):
        sink.handle(event)
    sink.settle()
    sink._broker._session._connection.close()
    for event in unreal.stream("second", "b"):
        sink.handle(event)
    sink.close()
    with route.consumer() as consumer:
        assert unreal.texts(consumer, 2) == ["first", "second"]
    assert (sink.published, sink.lost) == (len(unreal.stream("first")) + len(unreal.stream("second")), 0)


def until_the_end(consumer: TokenConsumer) -> str:
    """Consume to the first end, which is not settled yet, and return its stream's text."""
    while not isinstance(event := consumer.consume_one(20), EndEvent):
        assert event is not None
    return consumer.text(event.stream_id)


def test_a_stream_is_settled_with_the_broker_before_the_next_event_is_handled(
    route: Route, rabbitmq_server: RabbitMQ
) -> None:
    """A consumer that is killed in a handler has all acknowledgements behind it, not somewhere on their way."""
    for stream_id in "ab":
        unreal.publish(route, unreal.stream("text", stream_id))
    with ThreadPoolExecutor() as threads, route.consumer() as consumer:
        until_the_end(consumer)
        rabbitmq_server.pause()
        try:
            following = threads.submit(consumer.consume_one, 20)
            with pytest.raises(StillWaitingError):
                following.result(0.5)
        finally:
            rabbitmq_server.resume()
        assert following.result(20) is not None


@pytest.mark.parametrize("through", [0, 1, 3])
def test_of_a_stream_that_is_settled_in_part_no_end_comes_again(
    route: Route, rabbitmq_server: RabbitMQ, through: int
) -> None:
    """Where the connection is lost among the acknowledgements a stream comes again whole, or without its end."""
    unreal.publish(route, unreal.stream("text"))
    with cut(rabbitmq_server.port, through) as port:
        first = route.consumer(url=f"amqp://guest:guest@127.0.0.1:{port}/%2F")
        assert until_the_end(first) == "text"
        first.close()
    with route.consumer() as later:
        again = [later.consume_one(0.5) for _ in range(7)]
    ends = [event for event in again if isinstance(event, EndEvent)]
    assert len(ends) == (through == 0)
    assert sum(event is not None for event in again) == 6 - through


@contextmanager
def cut(broker: int, through: int) -> Iterator[int]:
    """A port that leads to a broker's, once, until so many acknowledgements have gone through."""

    def carry() -> None:
        here, _ = listening.accept()
        with here, socket.create_connection(("127.0.0.1", broker)) as there, suppress(OSError):
            threading.Thread(target=copy, args=(there, here)).start()
            left = through
            for frame, sent in _frames(here):
                if isinstance(getattr(frame, "method", None), pika.spec.Basic.Ack):
                    if not left:
                        there.shutdown(socket.SHUT_RDWR)
                        return
                    left -= 1
                there.sendall(sent)

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while given := source.recv(65536):
                target.sendall(given)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as threads:
        carrying = threads.submit(carry)
        yield listening.getsockname()[1]
        carrying.result(20)


def _frames(source: socket.socket) -> Iterator[tuple[Any, bytes]]:
    waiting = b""
    while given := source.recv(65536):
        waiting += given
        while (found := decode_frame(waiting))[0]:
            yield found[1], waiting[: found[0]]
            waiting = waiting[found[0] :]
