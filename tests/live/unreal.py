"""Events of streams that never were, and what a consumer makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.live.events import EndEvent, StartEvent, TokenEvent
from otel_tokenstream.live.wire import Sent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tokenstream.live.consumer import TokenConsumer
    from otel_tokenstream.live.events import Event
    from tests.live.brokers import Route


def stream(text: str, stream_id: str = "s", *, ended: bool = True) -> list[Event]:
    about: Any = {
        "stream_id": stream_id,
        "trace_id": "",
        "parent_id": "",
        "at_ns": 1,
        "operation": "chat",
        "model": "m",
        "provider": "p",
        "correlation": {},
    }
    facts: Any = {"kind": "text", "chars": 1, "offset_us": 0, "gap_us": 0, "wait_us": 0, "finish_reason": None}
    tokens = [
        TokenEvent(**about, **facts, text=letter, field=None, index=place, chunk=place)
        for place, letter in enumerate(text)
    ]
    end = EndEvent(
        **about,
        outcome="completed",
        error_type=None,
        finish_reason="stop",
        chunks=len(text),
        input_tokens=None,
        output_tokens=None,
        reasoning_tokens=None,
        duration_us=1,
        first_token_us=1,
        dropped=0,
    )
    return [StartEvent(**about, stream=True), *tokens, *([end] if ended else [])]


def publish(route: Route, events: list[Event], places: Iterable[int] | None = None) -> None:
    """Publish a stream's events, or those of some places in it."""
    sink = route.sink()
    sink._batch = [Sent(place, events[place]) for place in (range(len(events)) if places is None else places)]
    sink.close()
    assert sink.lost == 0


def texts(consumer: TokenConsumer, streams: int, timeout: float = 20.0) -> list[str]:
    """Consume so many ends, and return the texts that were complete."""
    found: list[str] = []
    ends = 0
    while ends < streams:
        event = consumer.consume_one(timeout)
        assert event is not None, f"{ends} of {streams} streams ended"
        if isinstance(event, EndEvent):
            ends += 1
            if consumer.stream(event.stream_id).complete:
                found.append(consumer.text(event.stream_id))
    return found
