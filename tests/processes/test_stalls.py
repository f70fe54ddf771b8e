"""Streams that are silent right now, over real HTTP, seen while nothing has come back yet."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import ROLE, Script
from otel_tokenstream.testing import Capture, capture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

BEFORE_TOKENS = Script(pieces=[ROLE, "late"], role_alone=False, pauses={1: 60})
BETWEEN_TOKENS = Script(pieces=["a", "b"], gap=0, ending="hang")
RETURNS = Script(pieces=["a", "b", "c", "d"], gap=0, pauses={2: 0.6})
THRESHOLDS = {"stall_threshold": 0.2, "first_token_threshold": 0.3, "event_budget": 32}


@contextlib.asynccontextmanager
async def reading(provider: ScriptedProvider, script: Script) -> AsyncIterator[asyncio.Task[None]]:
    provider.scripts["scripted"] = script

    async def read() -> None:
        stream = await litellm.acompletion(
            model="openai/scripted",
            messages=[{"role": "user", "content": "Go on."}],
            stream=True,
            api_base=provider.base_url,
            api_key="none",
        )
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def gauge(captured: Capture, name: str) -> dict[str | None, int]:
    points = captured.metrics.get(name, [])
    return {point.attributes.get(signals.PHASE): point.value for point in points}


def stalls(captured: Capture) -> list[dict[str, Any]]:
    return [dict(record.attributes) for record in captured.logs if record.name == signals.STALL_EVENT]


async def until(seen: Callable[[], Any]) -> Any:
    """What ``seen`` tells as soon as it tells something; each look collects the metrics."""

    async def look() -> Any:
        while not (found := seen()):
            await asyncio.sleep(0.05)
        return found

    return await asyncio.wait_for(look(), 60)


@pytest.mark.parametrize(
    ("script", "phase", "other"), [(BEFORE_TOKENS, "first_token", "tokens"), (BETWEEN_TOKENS, "tokens", "first_token")]
)
async def test_a_silent_stream_is_seen_while_it_is_silent(
    script: Script, phase: str, other: str, provider: ScriptedProvider
) -> None:
    """Both gauges count the stream while its read is pending, and say zero when it has ended."""
    with capture(**THRESHOLDS) as captured:
        async with reading(provider, script):
            await until(lambda: gauge(captured, signals.STREAM_STALLED).get(phase) == 1)
            assert gauge(captured, signals.STREAM_STALLED)[other] == 0
            assert gauge(captured, signals.STREAM_ACTIVE) == {None: 1}
        assert gauge(captured, signals.STREAM_STALLED) == {phase: 0, other: 0}
        assert gauge(captured, signals.STREAM_ACTIVE) == {None: 0}


@pytest.mark.parametrize("events", ["log", "both"])
@pytest.mark.parametrize(
    ("script", "phase", "waited"), [(BEFORE_TOKENS, "first_token", 0.3), (BETWEEN_TOKENS, "tokens", 0.2)]
)
async def test_a_stall_is_logged_once_while_the_read_is_pending(
    script: Script, phase: str, waited: float, events: str, provider: ScriptedProvider
) -> None:
    """The record comes with the next collection of metrics, says how long it has waited so far, and is not repeated."""
    slow_start = {"first_token_threshold": 0.3 if phase == "first_token" else 60}
    with capture(events=events, **{**THRESHOLDS, **slow_start}) as captured:
        async with reading(provider, script) as task:
            (stall,) = await until(lambda: captured.metrics and stalls(captured))
            assert captured.metrics
            assert not task.done()
        assert stalls(captured) == [stall]
    assert stall[signals.AT_PHASE] == phase
    assert stall[signals.AT_WAIT_US] >= waited * 1e6
    assert stall[signals.REQUEST_MODEL] == "scripted"
    assert list(stall)[:3] == [signals.AT_OFFSET_US, signals.AT_GAP_US, signals.AT_INDEX]


async def test_a_stall_that_was_logged_is_not_logged_again_when_it_is_over(provider: ScriptedProvider) -> None:
    """The record of the chunk that ended it, and the span, have the whole wait."""
    with capture(events="both", **THRESHOLDS) as captured:
        async with reading(provider, RETURNS) as task:
            await until(lambda: captured.metrics and stalls(captured))
            await task
        (stall,) = stalls(captured)
        (generation,) = captured.generations
        tokens = [dict(record.attributes) for record in captured.logs if record.name == signals.TOKEN_EVENT]
    assert generation.attributes[signals.STALL_COUNT] == 1
    (ended_it,) = (
        token
        for token in tokens
        if 0 <= stall[signals.AT_INDEX] - token[signals.AT_INDEX] < token.get(signals.AT_COUNT, 1)
    )
    assert ended_it[signals.AT_WAIT_US] > stall[signals.AT_WAIT_US]


async def test_a_stall_between_two_collections_is_logged_when_it_is_over(provider: ScriptedProvider) -> None:
    """Where nobody collected in time, the record comes with the chunk, without a phase."""
    with capture(events="log", **THRESHOLDS) as captured:
        async with reading(provider, RETURNS) as task:
            await task
        (stall,) = stalls(captured)
    assert signals.AT_PHASE not in stall
    assert stall[signals.AT_WAIT_US] >= 0.2e6
