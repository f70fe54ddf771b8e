from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import unreal
from brokers import RabbitMQ, Route

if TYPE_CHECKING:
    from collections.abc import Iterator


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
