from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import Redactor
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.live.rabbitmq import RabbitMQSink
from otel_tokenstream.live.redis import RedisSink
from otel_tokenstream.live.sink import attach
from otel_tokenstream.testing import capture
from tests.live import numbered, unreal
from tests.live.brokers import RabbitMQ, Redis, Route
from tests.live.live_calls import LETTERS, Seen, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

STREAMS, PIECES = 20, 10


def test_no_text_leaves_unless_it_is_asked_for(route: Route, provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Facts of every token are in the broker, and nothing of what was said."""
    del tokenstream
    with attach(route.sink()):
        streamed(provider, Script(pieces=["secret-1", "secret-2"], gap=0))
    found = route.raw()
    assert len(found) >= 4
    assert not [message for message in found if "secret" in message]


def test_an_address_sent_one_character_a_chunk_never_reaches_the_broker(
    route: Route, provider: ScriptedProvider
) -> None:
    """What the redaction hook removes is in no message, and the rest of the text is whole."""
    said = "Write to jane.doe@example.org today, or to nobody."
    hide = Redactor(lambda text: re.sub(r"[\w.]+@[\w.]+\w", "[address]", text), longest=40)
    with capture(redact=hide), attach(route.sink(), text=True):
        streamed(provider, Script(pieces=list(said), gap=0))
    texts = [getattr(sent.event, "text", None) or "" for sent in route.sent()]
    assert "".join(texts) == "Write to [address] today, or to nobody."
    assert not [text for text in texts if re.search(r"jane|doe|@|example|org", text)]


def test_a_broker_that_is_not_there_costs_the_program_nothing(
    route: Route, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Setting up and streaming go on, the log tells once without the password, and every event is counted as lost."""
    redis = isinstance(route.broker, Redis)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and nobody listens
        port = closed.getsockname()[1]
        url = f"redis://me:s3cret@127.0.0.1:{port}" if redis else f"amqp://me:s3cret@127.0.0.1:{port}"
        sink = RedisSink(url) if redis else RabbitMQSink(url)
        seen = Seen()
        with caplog.at_level(logging.INFO), capture() as captured, attach(seen):
            attached = attach(sink, capacity=20)
            for _ in range(5):
                assert len(streamed(provider)) > len(LETTERS.pieces or ())
            assert attached.close()
            (point,) = (
                point
                for point in captured.metrics["tokenstream.live.dropped"]
                if point.attributes == {"tokenstream.live.sink": type(sink).__name__}
            )
    assert sink.published == 0
    assert attached.dropped + sink.lost == point.value > 0
    told = [record for record in caplog.records if record.name.startswith(("otel_tokenstream", "pika", "redis"))]
    assert [(record.levelname, record.name) for record in told] == [("WARNING", "otel_tokenstream.live.broker_sink")]
    assert str(port) in told[0].getMessage()
    assert "s3cret" not in caplog.text


def test_a_broker_that_answers_nothing_does_not_hold_the_program_up(route: Route, provider: ScriptedProvider) -> None:
    """Streams are read to their ends while the sink still waits for its first answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{'redis' if isinstance(route.broker, Redis) else 'amqp'}://127.0.0.1:{silent.getsockname()[1]}"
        sink = RedisSink(url) if isinstance(route.broker, Redis) else RabbitMQSink(url)
        with capture():
            attached = attach(sink)
            streamed(provider)
            streamed(provider)
            assert not attached.flush(0)
            assert not attached.close(0)
    assert sink.published == 0


@pytest.mark.usefixtures("tokenstream")
async def test_events_of_an_outage_are_sent_when_the_broker_is_back(
    route: Route, provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost or doubled by a broker that is killed and started again, if what came meanwhile fits."""
    seen, sink = Seen(), route.sink()
    with caplog.at_level(logging.INFO, "otel_tokenstream"), attach(seen, text=True) as first:
        with attach(sink, text=True) as attached:
            await numbered.read(provider, STREAMS, PIECES)
            assert attached.flush(60)
            route.broker.kill()
            await numbered.read(provider, STREAMS, PIECES)
            assert not attached.flush(0)
            route.broker.start()
            assert attached.flush(60)
        assert first.flush()
    assert (attached.dropped, sink.lost, sink.published) == (0, 0, len(seen.events))
    assert [sent.event for sent in route.sent()] == seen.events
    told = [record.levelname for record in caplog.records if record.name == "otel_tokenstream.live.broker_sink"]
    assert told == ["WARNING", "INFO"]


@pytest.mark.usefixtures("tokenstream")
def test_dropped_events_are_counted_exactly(route: Route, provider: ScriptedProvider) -> None:
    """Of an outage longer than the queue, what was published and what was lost are together what was made."""
    seen, sink = Seen(), route.sink()
    with attach(seen) as first, attach(sink, capacity=30) as attached:
        streamed(provider)
        assert attached.flush(60)
        route.broker.kill()
        for _ in range(20):
            streamed(provider)
        route.broker.start()
        assert attached.flush(60)
        assert first.flush()
    published = route.sent()
    assert attached.dropped > 0
    assert len(published) == sink.published
    ends = [sent.event for sent in published if sent.event.type == "end"]
    assert sum(getattr(end, "dropped", 0) for end in ends) == attached.dropped
    assert sink.published + sink.lost + attached.dropped == len(seen.events)


@pytest.mark.usefixtures("tokenstream")
def test_a_broker_that_hangs_gets_nothing_twice(redis_server: Redis, provider: ScriptedProvider) -> None:
    """A batch whose answer was waited for in vain is not sent again if it was taken after all."""
    route, seen = Route(redis_server), Seen()
    sink = route.sink(socket_timeout=0.3)
    with attach(seen, text=True) as first, attach(sink, text=True) as attached:
        streamed(provider)
        assert attached.flush(60)
        redis_server.pause()
        try:
            streamed(provider)
            assert not attached.flush(1.5)  # some time-outs and new connections
        finally:
            redis_server.resume()
        assert attached.flush(60)
        assert first.flush()
    assert [sent.event for sent in route.sent()] == seen.events


def _certificate(directory: Path) -> tuple[str, str]:
    key, certificate = str(directory / "key.pem"), str(directory / "certificate.pem")
    about = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-days", "2"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *about]
    subprocess.run(made, check=True, capture_output=True)
    return key, certificate


@pytest.fixture(params=["rediss", "amqps"])
def secured(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and authority of a broker that takes TLS only."""
    key, certificate = _certificate(tmp_path)
    if request.param == "rediss":
        files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate)
        with Redis(tmp_path, tls=(*files, "--tls-auth-clients", "no")) as server:
            yield server.url, certificate
    else:
        with RabbitMQ(tmp_path, tls=(certificate, key)) as server:
            yield server.url, certificate


def test_tls_is_checked_against_the_authority_that_is_given(
    secured: tuple[str, str], provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """With the broker's authority events arrive; without it the sink sends nothing to whoever answers."""
    del tokenstream
    url, authority = secured
    if url.startswith("rediss"):
        trusting: Any = RedisSink(url, ssl_ca_certs=authority)
        doubting: Any = RedisSink(url)
    else:
        trusting = RabbitMQSink(url, queue="q", ssl_context=ssl.create_default_context(cafile=authority))
        doubting = RabbitMQSink(url, queue="q")
    first, second = attach(trusting), attach(doubting)
    streamed(provider)
    assert first.close(20)
    assert second.close(1)
    assert (trusting.published > 0, trusting.lost) == (True, 0)
    assert (doubting.published, doubting.lost) == (0, trusting.published)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forking with threads, which is what is tested
def test_a_forked_child_has_a_connection_of_its_own(route: Route) -> None:
    """What parent and child publish after the fork arrives, and neither disturbs the other."""
    sink = route.sink()

    def publish(text: str, stream_id: str) -> None:
        for event in unreal.stream(text, stream_id):
            sink.handle(event)
        sink.settle()

    publish("before", "a")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            sink.forked()
            publish("child", "b")
            sink.close()
            status = sink.lost
        finally:
            os._exit(status)
    publish("parent", "c")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    publish("after", "d")
    sink.close()
    assert (sink.published, sink.lost) == (len("beforeparentafter") + 6, 0)
    with route.consumer() as consumer:
        assert sorted(unreal.texts(consumer, 4)) == ["after", "before", "child", "parent"]


def test_closing_gives_up_in_time_and_counts(route: Route, provider: ScriptedProvider) -> None:
    """A program that ends while its broker is away is not kept waiting, and knows what it lost."""
    seen, sink = Seen(), route.sink()
    with capture(), attach(seen) as first:
        attached = attach(sink)
        streamed(provider)
        assert attached.flush(60)
        route.broker.kill()
        closing = threading.Thread(target=attached.close, args=(2,))
        try:
            streamed(provider)
            assert first.flush()
            closing.start()
            closing.join(60)
            assert not closing.is_alive()
        finally:
            route.broker.start()
    assert sink.published + sink.lost + attached.dropped == len(seen.events)
    assert sink.published == len(route.sent())
