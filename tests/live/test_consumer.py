from __future__ import annotations

import asyncio
import json
import logging
import struct
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import pika  # type: ignore[import-untyped]  # pika does not declare its types
import pytest

from otel_tokenstream.demo.provider import Script, tool_call
from otel_tokenstream.live.consumer import TokenConsumer
from otel_tokenstream.live.events import EndEvent, TokenEvent
from otel_tokenstream.live.sink import attach
from otel_tokenstream.live.steps import step
from otel_tokenstream.live.wire import Sent, flat, to_json
from tests.live import numbered, unreal
from tests.live.brokers import Route
from tests.live.live_calls import program, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture
    from tests.live.brokers import RabbitMQ

STREAMS, PIECES = 50, 20

pytestmark = pytest.mark.usefixtures("tokenstream")


async def test_streams_side_by_side_are_rebuilt_exactly(route: Route, provider: ScriptedProvider) -> None:
    """Each text that a caller got is what the consumer puts together, none twice and nothing left over."""
    sink = route.sink()
    with attach(sink, text=True) as attached:
        read = await numbered.read(provider, STREAMS, PIECES)
        assert attached.flush(60)
    with route.consumer() as consumer:
        rebuilt = await asyncio.to_thread(unreal.texts, consumer, STREAMS)
        assert await asyncio.to_thread(consumer.consume_one, 0.2) is None
    assert sorted(rebuilt) == sorted(read)
    assert len(read) == STREAMS
    assert (attached.dropped, sink.lost) == (0, 0)


def test_handlers_get_each_type_of_event_in_order(route: Route, provider: ScriptedProvider) -> None:
    """Plain and async handlers of one consumer run one after the other, in the order in which they were told."""
    with attach(route.sink(), text=True):
        streamed(provider)
    consumer = route.consumer()
    seen: list[Any] = []
    waited: list[str | None] = []

    for each in ("start", "token"):
        consumer.on(each)(seen.append)

    @consumer.on("token")
    async def wait(event: TokenEvent) -> None:
        await asyncio.sleep(0)
        waited.append(event.text)

    @consumer.on("end")
    def last(event: EndEvent) -> None:
        seen.append(event)
        consumer.stop()

    consumer.run()
    assert [event.type for event in seen] == ["start", *["token"] * (len(seen) - 2), "end"]
    assert "".join(text or "" for text in waited) == "abcdefgh"
    with pytest.raises(KeyError):
        consumer.text(seen[-1].stream_id)


def test_fields_are_rebuilt_apart(route: Route, provider: ScriptedProvider) -> None:
    """Each output field of a program has its text, and the text of all is theirs in order."""
    with attach(route.sink(), text=True):
        *_, prediction = program(provider, fields=("reasoning", "answer"))(question="Why are there tides?")
    with route.consumer() as consumer:
        while not isinstance(event := consumer.consume_one(20), EndEvent):
            assert event is not None
        stream = consumer.stream(event.stream_id)
        assert stream.fields == {"reasoning": prediction.reasoning, "answer": prediction.answer}
        assert consumer.text(event.stream_id, "answer") == prediction.answer


def test_tool_calls_are_rebuilt_apart(route: Route, provider: ScriptedProvider) -> None:
    """Each from its own pieces, which may come by turns."""
    first, second = tool_call('{"a":', name="read", call_id="call_1"), tool_call('{"b":', call_id="call_2", index=1)
    with attach(route.sink(), text=True):
        streamed(provider, Script(pieces=[first, second, tool_call("1}"), tool_call("2}", index=1)], gap=0))
    ids: dict[int | None, str | None] = {}
    with route.consumer() as consumer:
        while not isinstance(event := consumer.consume_one(20), EndEvent):
            assert event is not None
            if isinstance(event, TokenEvent):
                ids[event.tool_call] = event.tool_call_id
        assert consumer.stream(event.stream_id).tool_calls == {0: '{"a":1}', 1: '{"b":2}'}
    assert ids == {0: "call_1", 1: "call_2", None: None}


def test_steps_come_through(route: Route, tokenstream: Capture) -> None:
    """A step of the program is told with what the program says of it."""
    del tokenstream
    with attach(route.sink()), step("retrieval", k=3) as span:
        span.add_event("found", {"documents": ["a", "b"]})
    with route.consumer() as consumer:
        start, note, end = (consumer.consume_one(20) for _ in range(3))
    assert [event and event.type for event in (start, note, end)] == ["step_start", "step_event", "step_end"]
    assert getattr(start, "attributes", None) == {"k": 3}
    assert getattr(note, "attributes", None) == {"documents": ["a", "b"]}


def test_events_that_come_twice_count_once(route: Route) -> None:
    """What a sink sends again because it was in doubt changes no text and calls no handler."""
    unreal.publish(route, unreal.stream("once"), [0, 1, 2, 3, 2, 3, 4, 5, 3, 5])
    unreal.publish(route, unreal.stream("more", "t"))
    with route.consumer() as consumer:
        types: list[str] = []
        for each in ("start", "token", "end"):
            consumer.on(each)(lambda event: types.append(event.type))
        assert unreal.texts(consumer, 2) == ["once", "more"]
    assert types == ["start", *["token"] * 4, "end"] * 2


def test_missing_events_are_reported(route: Route) -> None:
    """A stream whose events were lost on the way is not complete, and says how many are missing."""
    unreal.publish(route, unreal.stream("gaps"), [0, 1, 4, 5])
    with route.consumer() as consumer:
        while not isinstance(event := consumer.consume_one(20), EndEvent):
            assert event is not None
        stream = consumer.stream(event.stream_id)
        assert (stream.complete, stream.missing, stream.text()) == (False, 2, "gs")


def test_a_failing_handler_gets_its_stream_again(route: Route) -> None:
    """The error reaches the caller of run, and the stream comes whole when the consumer runs again."""
    unreal.publish(route, unreal.stream("again"))
    consumer, texts = route.consumer(), []

    @consumer.on("end")
    def store(event: EndEvent) -> None:
        texts.append(consumer.text(event.stream_id))
        if len(texts) == 1:
            raise ConnectionError
        consumer.stop()

    with pytest.raises(ConnectionError):
        consumer.run()
    consumer.run()
    assert texts == ["again", "again"]
    with route.consumer() as later:
        assert later.consume_one(0.3) is None


async def test_a_consumer_in_a_loop_can_be_cancelled_and_loses_nothing(route: Route) -> None:
    """A task that is cancelled while it waits leaves everything to the next one, and never blocks the loop."""
    consumer = route.consumer()
    waiting = asyncio.create_task(consumer.arun())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    unreal.publish(route, unreal.stream("later"))
    ended = asyncio.Event()

    @consumer.on("end")
    async def done(event: EndEvent) -> None:
        texts.append(consumer.text(event.stream_id))
        ended.set()

    texts: list[str] = []
    running = asyncio.create_task(consumer.arun())
    await asyncio.wait_for(ended.wait(), 60)
    consumer.stop()
    await asyncio.wait_for(running, 60)
    assert texts == ["later"]


def test_each_group_gets_everything(route: Route) -> None:
    """Two groups read the same streams; what one has settled is still there for the other."""
    with route.consumer(group="others") as other:
        assert other.consume_one(0.5) is None  # a queue gets what is published after it was made
        unreal.publish(route, unreal.stream("shared"))
        with route.consumer() as consumer:
            assert unreal.texts(consumer, 1) == ["shared"]
        assert unreal.texts(other, 1) == ["shared"]


def test_a_second_consumer_of_a_group_takes_over(route: Route) -> None:
    """While one reads the other is not served; when it closes in the middle of a stream the other gets it whole."""
    first, second = route.consumer(), route.consumer()
    unreal.publish(route, unreal.stream("whole", ended=False))
    for _ in range(3):
        assert first.consume_one(20) is not None
    assert second.consume_one(0.5) is None
    first.close()
    unreal.publish(route, unreal.stream("whole"), [6])
    with second:
        assert unreal.texts(second, 1) == ["whole"]


def test_a_stream_that_never_ends_is_given_up(route: Route) -> None:
    """It is neither kept in memory nor read again by the next consumer."""
    unreal.publish(route, unreal.stream("half", ended=False))
    with route.consumer(expire=0.2) as consumer:
        while consumer.consume_one(0.5) is not None:
            pass
        assert consumer.expired == 1
        with pytest.raises(KeyError):
            consumer.stream("s")
    with route.consumer() as later:
        assert later.consume_one(0.3) is None


def test_only_so_many_open_streams_are_kept(route: Route) -> None:
    """Beyond the limit the longest untouched stream makes room."""
    for stream_id in "abc":
        unreal.publish(route, unreal.stream("x", stream_id, ended=False))
    with route.consumer(max_streams=2) as consumer:
        while consumer.consume_one(0.5) is not None:
            pass
        assert consumer.expired == 1
        assert consumer.text("c") == "x"


def test_foreign_messages_are_passed_over(route: Route) -> None:
    """Something else in the same place is counted, and not read again."""
    unreal.publish(route, unreal.stream("ours"))
    _foreign(route)
    unreal.publish(route, unreal.stream("too", "t"))
    with route.consumer() as consumer:
        assert unreal.texts(consumer, 2) == ["ours", "too"]
        assert consumer.skipped == 1
    with route.consumer() as later:
        assert later.consume_one(0.3) is None
        assert later.skipped == 0


def _foreign(route: Route, message: dict[str, str] | bytes = b"hello", properties: Any = None) -> None:
    if "stream_key" in route.where:
        fields = message if isinstance(message, dict) else {"hello": "world"}
        route.broker.client().xadd(route.name, fields)  # type: ignore[union-attr, arg-type]  # its dict is invariant
        return
    body = json.dumps(message).encode() if isinstance(message, dict) else message
    connection = route.broker.connection()  # type: ignore[union-attr]
    connection.channel().basic_publish(route.name, "token", body, properties)
    connection.close()


def _poison() -> list[dict[str, str] | bytes]:
    """Messages that look like ours and cannot be read: each error of Python's that reading one has raised."""
    start, *_, end = (dict(flat(Sent(place, each))) for place, each in enumerate(unreal.stream("x", "poison")))
    deep = "[" * 100_000
    own: list[dict[str, Any]] = [
        {"v": "1"},
        {**start, "v": "Infinity"},
        {**start, "v": "-1e999"},
        {**start, "seq": "NaN"},
        {**start, "at_ns": "9" * 5000},
        {**start, "stream": "inf"},
        {**end, "duration_us": ""},
        {**start, "type": "step_start", "name": "n", "attributes.deep": deep},
        {**start, "type": "step_start", "name": "n", "attributes.deep": '{"a":' * 100_000},
        {**start, "type": "step_start", "name": "n", "attributes.long": "9" * 5000},
    ]
    numbers = [
        b'{"v": Infinity}',
        json.dumps({**start, "v": float("inf")}).encode(),
        json.dumps({**start, "seq": float("nan")}).encode(),
        json.dumps({**start, "at_ns": float("-inf")}).encode(),
        json.dumps({**end, "chunks": [1]}).encode(),
        deep.encode(),
        deep.encode() + b"]" * 100_000,
        b'{"v":' * 100_000,
        b"9" * 5000,
        b"\xff\xfe",
        b"",
    ]
    return [{name: str(value) for name, value in each.items()} for each in own] + numbers


def test_no_message_ends_a_consumer(route: Route) -> None:
    """Whatever error reading one raises, it is counted and not read again, and the streams around it are whole."""
    unreal.publish(route, unreal.stream("before"))
    poison = _poison()
    for message in poison:
        _foreign(route, message)
    unreal.publish(route, unreal.stream("after", "t"))
    with route.consumer() as consumer:
        assert unreal.texts(consumer, 2) == ["before", "after"]
        assert consumer.skipped == len(poison)
    with route.consumer() as later:
        assert later.consume_one(0.3) is None
        assert later.skipped == 0


class _Headers(pika.BasicProperties):  # type: ignore[misc]  # as above
    """One header in AMQP's encoding, which pika itself would not write."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self._table = b"\x01x" + value

    def encode(self) -> list[bytes]:
        return [struct.pack(">HI", self.FLAG_HEADERS, len(self._table)), self._table]


def test_a_header_that_the_client_cannot_decode_does_not_end_a_consumer(rabbitmq_server: RabbitMQ) -> None:
    """The body counts: a message of ours is read, a foreign one skipped."""
    route = Route(rabbitmq_server)
    value = b"T" + struct.pack(">Q", 2**63)  # a time that datetime does not hold
    *events, end = unreal.stream("ours")
    unreal.publish(route, events)
    _foreign(route, b"hello", _Headers(value))
    _foreign(route, to_json(Sent(len(events), end)), _Headers(value))
    with route.consumer() as consumer:
        assert unreal.texts(consumer, 1) == ["ours"]
        assert consumer.skipped == 1
    with route.consumer() as later:
        assert later.consume_one(0.3) is None


def test_a_restarted_broker_is_read_on(route: Route, caplog: pytest.LogCaptureFixture) -> None:
    """A consumer whose broker is killed waits for it, says so once, and calls no handler twice."""
    unreal.publish(route, unreal.stream("half", ended=False))
    texts: list[str | None] = []
    with route.consumer() as consumer, caplog.at_level(logging.INFO):
        consumer.on("token")(lambda event: texts.append(event.text))
        while len(texts) < 4:
            assert consumer.consume_one(20) is not None
        route.broker.kill()
        assert consumer.consume_one(0.5) is None
        route.broker.start()
        unreal.publish(route, unreal.stream("half"), [5])
        assert unreal.texts(consumer, 1) == ["half"]
    assert texts == list("half")
    told = [each for each in caplog.records if "otel_tokenstream" in each.name or each.levelno >= logging.WARNING]
    assert [(each.name, each.levelname) for each in told] == [
        ("otel_tokenstream.live.consumer", "WARNING"),
        ("otel_tokenstream.live.consumer", "INFO"),
    ]


_PROGRAM = textwrap.dedent("""
    import json, sys
    from otel_tokenstream.live.consumer import TokenConsumer

    where, kept, dies_after = json.loads(sys.argv[1])
    consumer, tokens, ends = TokenConsumer(**where), 0, 0

    @consumer.on("token")
    def count(event):
        global tokens
        tokens += 1
        if tokens == dies_after:
            print("read", flush=True)
            sys.stdin.read()

    @consumer.on("end")
    def keep(event):
        stream = consumer.stream(event.stream_id)
        with open(kept, "a") as file:
            file.write(json.dumps([event.stream_id, stream.text(), stream.complete]) + "\\n")
        print("end", flush=True)

    consumer.run()
""")


@pytest.mark.parametrize("same_name", [True, False])
def test_a_consumer_killed_between_read_and_acknowledge_rebuilds_every_text_once(
    route: Route, provider: ScriptedProvider, tmp_path: Path, *, same_name: bool
) -> None:
    """The process is killed with streams finished, begun and unread; a new one gives each text once and whole."""
    with attach(route.sink(), text=True) as attached:
        read = asyncio.run(numbered.read(provider, STREAMS, PIECES, at_once=10))
        assert attached.flush(60)
    where = {**route.where, "lease": 2.0, **({"name": "the one"} if same_name else {})}
    kept = tmp_path / "kept"

    def run(dies_after: int, line: str, lines: int) -> None:
        given = json.dumps([where, str(kept), dies_after])
        consumer = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert consumer.stdout is not None
        try:
            told: Iterator[str] = (each.strip() for each in consumer.stdout)
            while lines:
                lines -= next(told) == line
        finally:
            consumer.kill()  # SIGKILL
            consumer.communicate()

    run(STREAMS * PIECES * 2 // 3, "read", 1)
    before = len(kept.read_text().splitlines())
    assert 0 < before < STREAMS
    run(0, "end", STREAMS - before)
    texts = [json.loads(line) for line in kept.read_text().splitlines()]
    assert sorted(text for _, text, _ in texts) == sorted(read)
    assert all(complete for _, _, complete in texts)
    assert len({stream_id for stream_id, _, _ in texts}) == STREAMS


def test_stop_ends_a_run_that_waits(route: Route) -> None:
    """Another thread ends it within a moment, whether or not something comes."""
    consumer = route.consumer()
    running = threading.Thread(target=consumer.run)
    running.start()
    consumer.stop()
    running.join(60)
    assert not running.is_alive()


def test_a_wrong_argument_of_a_consumer_raises_at_once() -> None:
    """An address of no broker and a type of no event are errors that name what there is."""
    with pytest.raises(ValueError, match="redis://"):
        TokenConsumer("http://localhost")
    with pytest.raises(ValueError, match="token"):
        TokenConsumer("redis://localhost").on("tokens")
