"""Who was slow: the provider or the consumer. Exact numbers are measured by benchmarks/truth.py."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import litellm

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Generation


def streamed(
    provider: ScriptedProvider, script: Script, keep: Callable[[int], float] = lambda _: 0.0, **settings: Any
) -> Generation:
    """One stream whose caller keeps each chunk this many seconds."""
    provider.scripts["test"] = script
    about = {"api_base": provider.base_url, "api_key": "none", "stream": True}
    with capture(**settings) as captured:
        for index, _ in enumerate(litellm.completion("openai/test", [{"role": "user", "content": "x"}], **about)):
            time.sleep(keep(index))
    return captured.generations[0]


def read(provider: ScriptedProvider, script: Script, keep: Callable[[int], float] = lambda _: 0.0) -> Mapping[str, Any]:
    """What the span says of such a stream."""
    return streamed(provider, script, keep).attributes


def test_a_slow_consumer_is_not_taken_for_a_slow_provider(provider: ScriptedProvider) -> None:
    """50 ms kept a chunk over a 5 ms provider is consumer time; the waits after the first token stay far below it."""
    said = read(provider, Script(pieces=["x"] * 20, gap=0.005), keep=lambda _: 0.05)

    assert said[signals.CONSUMER_TOTAL_MS] >= 20 * 50
    assert said[signals.WAIT_TOTAL_MS] - said[signals.TIME_TO_FIRST_TOKEN_MS] < said[signals.CONSUMER_TOTAL_MS] / 2
    assert said[signals.GAP_P50_MS] >= 50


def test_a_pause_of_the_provider_is_one_stall(provider: ScriptedProvider) -> None:
    """A provider that is silent for 2.5 s has stalled once, for about that long."""
    said = read(provider, Script(pieces=["x"] * 10, gap=0.005, pauses={5: 2.5}))

    assert said[signals.STALL_COUNT] == 1
    assert 2_000 <= said[signals.STALL_TOTAL_MS] == said[signals.WAIT_MAX_MS]


def test_a_pause_of_the_consumer_is_no_stall(provider: ScriptedProvider) -> None:
    """A caller that takes 2.5 s over one chunk has nobody else to blame."""
    said = read(provider, Script(pieces=["x"] * 10, gap=0.005), keep=lambda index: 2.5 if index == 5 else 0.0)

    assert said[signals.STALL_COUNT] == 0
    assert said[signals.CONSUMER_TOTAL_MS] >= 2_500


def test_tokens_never_arrive_before_they_were_sent(provider: ScriptedProvider) -> None:
    """A token is as late after the call's start, at least, as the provider sent it after the request had come."""
    generation = streamed(provider, Script(pieces=["x"] * 20, gap=0.02), event_budget=128)
    (exchange,) = provider.log.settled()
    sent = [(at - exchange.received_ns) // 1_000 for at in exchange.sent("text")]
    arrived = [
        event.attributes[signals.AT_OFFSET_US] for event in generation.tokens if event.attributes[signals.AT_CHARS]
    ]

    assert len(arrived) == len(sent) == 20
    assert all(at >= earliest for at, earliest in zip(arrived, sent, strict=True))
    assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] >= sent[0] // 1_000
