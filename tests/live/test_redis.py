from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from otel_tokenstream.live.consumer import TokenConsumer
from tests.live import unreal
from tests.live.brokers import Route

if TYPE_CHECKING:
    import pytest

    from tests.live.brokers import Redis


def test_a_stream_is_kept_to_its_length(redis_server: Redis) -> None:
    """Redis trims by whole blocks of its own, so there may be some entries more, but not all."""
    route = Route(redis_server)
    sink = route.sink(max_length=100)
    for event in unreal.stream("x" * 2_000):
        sink.handle(event)
    sink.close()
    assert sink.published == 2_002
    assert 100 <= redis_server.client().xlen(route.name) < 400


def test_entries_that_were_trimmed_unread_are_told_as_missing(redis_server: Redis) -> None:
    """A consumer that comes too late for the beginning knows how much it was."""
    route = Route(redis_server)
    sink = route.sink(max_length=100)
    for event in unreal.stream("x" * 2_000):
        sink.handle(event)
    sink.close()
    left = redis_server.client().xlen(route.name)
    with route.consumer() as consumer:
        while (event := consumer.consume_one(20)) is not None and event.type != "end":
            pass
        assert event is not None
        assert (consumer.stream(event.stream_id).missing, consumer.stream(event.stream_id).complete) == (
            2_002 - left,
            False,
        )


def test_entries_expire(redis_server: Redis) -> None:
    """The whole stream goes a while after its last entry, with what it held of its consumers; then all starts anew."""
    route = Route(redis_server)
    with route.consumer() as consumer:
        lasting, sink = route.sink(expire=600), route.sink(expire=0.2)
        for event in unreal.stream("first"):
            lasting.handle(event)
        lasting.settle()
        assert 0 < redis_server.client().pttl(route.name) <= 600_000
        for event in unreal.stream("brief"):
            sink.handle(event)
        sink.settle()
        while redis_server.client().exists(route.name):
            time.sleep(0.02)
        assert consumer.consume_one(0.2) is None
        unreal.publish(route, unreal.stream("second", "t"))
        assert unreal.texts(consumer, 1) == ["second"]


def test_an_entry_has_flat_names_that_any_client_reads(redis_server: Redis) -> None:
    """What stands in Redis is what the documentation says: no nesting, no empty values."""
    route = Route(redis_server)
    unreal.publish(route, unreal.stream("hi"))
    entries: Any = redis_server.client().xrange(route.name)
    assert entries[1][1] == {
        "v": "1",
        "type": "token",
        "seq": "1",
        "stream_id": "s",
        "at_ns": "1",
        "operation": "chat",
        "model": "m",
        "provider": "p",
        "text": "h",
        "index": "0",
        "kind": "text",
        "chars": "1",
        "chunk": "0",
        "offset_us": "0",
        "gap_us": "0",
        "wait_us": "0",
    }


def test_entries_of_a_consumer_that_lost_its_lease_are_claimed(redis_server: Redis) -> None:
    """Entries that another one of the group has taken are claimed by the one that holds the lease."""
    route = Route(redis_server)
    with TokenConsumer(**route.where, lease=0.3) as consumer:
        assert consumer.consume_one(0.1) is None
        unreal.publish(route, unreal.stream("strayed"), range(4))
        redis_server.client().xreadgroup("readers", "somebody", {route.name: ">"})
        assert [getattr(consumer.consume_one(20), "type", "") for _ in range(4)] == ["start", *["token"] * 3]
        unreal.publish(route, unreal.stream("strayed"), range(4, 9))
        assert unreal.texts(consumer, 1) == ["strayed"]


def test_a_consumer_that_was_away_too_long_is_replaced(redis_server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Its lease has run out and another one reads on; it says so, waits for its turn and settles nothing of theirs."""
    route = Route(redis_server)
    with TokenConsumer(**route.where, lease=0.2) as slow, TokenConsumer(**route.where) as other:
        unreal.publish(route, unreal.stream("whole"), range(4))
        assert slow.consume_one(20) is not None
        while (event := other.consume_one(0.1)) is None:  # as slow as its handler
            pass
        assert event.type == "start"
        while slow.consume_one(0) is not None:  # what it had read before
            pass
        assert "LeaseLostError" in caplog.text
        unreal.publish(route, unreal.stream("whole"), range(4, 7))
        assert unreal.texts(other, 1) == ["whole"]
        assert slow.consume_one(0) is None


def test_a_group_leaves_nothing_pending(redis_server: Redis) -> None:
    """After all was consumed Redis holds no entry for the group, and no consumers that are gone."""
    route = Route(redis_server)
    unreal.publish(route, unreal.stream("one"))
    for _ in range(3):
        consumer = route.consumer()
        consumer.consume_one(20)
        consumer.close()
    with route.consumer() as consumer:
        assert unreal.texts(consumer, 1) == ["one"]
        assert consumer.consume_one(0.1) is None
    about: Any = redis_server.client().xinfo_consumers(route.name, "readers")
    assert [each["pending"] for each in about] == [0]
