"""Who was slow: the provider or the consumer. Exact numbers are measured by benchmarks/truth.py."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import litellm
import pytest

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


# --- The time within the call that opens the stream ------------------------------------------

MESSAGES = [{"role": "user", "content": "x"}]
LATE = Script(pieces=["x"] * 3, before_headers=0.6, first_piece=0.4)


def sync(about: dict[str, Any]) -> None:
    for _ in litellm.completion("openai/test", MESSAGES, **about):
        pass


def asynchronous(about: dict[str, Any]) -> None:
    async def stream() -> None:
        async for _ in await litellm.acompletion("openai/test", MESSAGES, **about):
            pass

    asyncio.run(stream())


def routed(about: dict[str, Any]) -> None:
    stream = about.pop("stream")
    router = litellm.Router([{"model_name": "group", "litellm_params": {"model": "openai/test", **about}}])
    for _ in router.completion("group", MESSAGES, stream=stream):
        pass


def parts(said: Mapping[str, Any]) -> tuple[int, int, int]:
    return said[signals.OPENING_MS], said[signals.WAIT_TOTAL_MS], said[signals.CONSUMER_TOTAL_MS]


def duration(generation: Generation) -> float:
    return ((generation.span.end_time or 0) - (generation.span.start_time or 0)) / 1e6


@pytest.mark.parametrize("call", [sync, asynchronous])
def test_time_until_the_headers_is_opening_and_time_after_them_is_wait(
    provider: ScriptedProvider, call: Callable[[dict[str, Any]], None]
) -> None:
    """The provider's own clock says how long it kept each, and the three parts make up the duration."""
    provider.scripts["test"] = LATE
    with capture() as captured:
        call({"api_base": provider.base_url, "api_key": "none", "stream": True})
    (generation,), (exchange,) = captured.generations, provider.log.settled()
    opening, wait, consumer = parts(generation.attributes)

    assert exchange.headers_ns is not None
    assert opening >= (exchange.headers_ns - exchange.received_ns) // 1_000_000 >= 600
    assert opening + wait >= (exchange.sent("text")[0] - exchange.received_ns) // 1_000_000
    assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] > opening
    assert wait > 0
    assert opening + wait + consumer == pytest.approx(duration(generation), abs=3)


def test_a_router_reads_ahead_within_the_call_which_is_opening(provider: ScriptedProvider) -> None:
    """It looks at the first chunk before it hands the stream out; whichever part has it, none of the time is lost."""
    provider.scripts["test"] = LATE
    with capture() as captured:
        routed({"api_base": provider.base_url, "api_key": "none", "stream": True})
    (generation,) = captured.generations
    opening, wait, consumer = parts(generation.attributes)

    assert opening >= 600
    assert opening + wait >= 990
    assert opening + wait + consumer == pytest.approx(duration(generation), abs=3)


def test_a_failed_attempt_before_the_stream_is_opening(provider: ScriptedProvider) -> None:
    """The caller waits within its call for both requests: for the one that failed too."""
    provider.scripts["test"] = [Script(ending="http_error", before_headers=0.3), LATE]
    about = {"api_base": provider.base_url, "api_key": "none", "max_retries": 0}
    router = litellm.Router(
        [{"model_name": "group", "litellm_params": {"model": "openai/test", **about}}], num_retries=1, retry_after=0
    )
    with capture() as captured:
        for _ in router.completion("group", MESSAGES, stream=True):
            pass
    (generation,) = captured.generations
    opening, wait, consumer = parts(generation.attributes)

    assert generation.attributes[signals.ATTEMPTS] == 2
    assert opening >= 900
    assert opening + wait + consumer == pytest.approx(duration(generation), abs=3)


def test_a_call_that_fails_before_its_stream_spent_all_its_time_on_opening(provider: ScriptedProvider) -> None:
    """Nothing was read and nothing kept."""
    provider.scripts["test"] = Script(ending="http_error", before_headers=0.3)
    about = {"api_base": provider.base_url, "api_key": "none", "stream": True, "max_retries": 0}
    with capture() as captured, pytest.raises(litellm.exceptions.InternalServerError):
        litellm.completion("openai/test", MESSAGES, **about)
    (generation,) = captured.generations

    assert generation.attributes[signals.OPENING_MS] == pytest.approx(duration(generation), abs=1)
    assert generation.attributes[signals.OPENING_MS] >= 300


def test_time_before_the_first_read_is_consumer_time(provider: ScriptedProvider) -> None:
    """A caller that leaves its stream lying waits for nobody; so does one that closes it late."""
    provider.scripts["test"] = Script(pieces=["x"] * 3, gap=0.0)
    with capture() as captured:
        stream = litellm.completion("openai/test", MESSAGES, api_base=provider.base_url, api_key="none", stream=True)
        time.sleep(0.5)
        next(stream)
        time.sleep(0.5)
        stream.close()
    (generation,) = captured.generations
    opening, wait, consumer = parts(generation.attributes)

    assert consumer >= 1_000
    assert opening + wait + consumer == pytest.approx(duration(generation), abs=3)
