from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at

opentelemetry = pytest.importorskip("litellm.integrations.opentelemetry")

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fails", [False, True])
async def test_litellms_own_callback_has_a_span_below_ours(
    stream: bool, fails: bool, provider: ScriptedProvider, callbacks: list[object], caplog: Any
) -> None:
    """Its attributes and status stand on its own span, and nothing is written on one of ours that has ended."""
    script = Script(ending="http_error", status=500) if fails else Script(pieces=["a", "b"])
    with capture() as captured:
        theirs = opentelemetry.OpenTelemetry(tracer_provider=captured.tracer_provider)
        callbacks.append(theirs)
        try:
            given = at(provider, {"test": script})
            answer = await litellm.acompletion("openai/test", QUESTION, stream=stream, max_retries=0, **given)
            if stream:
                assert len([chunk async for chunk in answer]) > 1
        except litellm.InternalServerError:
            assert fails
        (ours,) = captured.generations
        for _ in range(500):
            below = [span for span in captured.spans if span.parent == ours.span.context]
            # litellm may still be telling of calls that other tests made, beside this one's.
            if any(span.name == "litellm_request" for span in below):
                break
            await asyncio.sleep(0.01)

    (own,) = (span for span in below if span.name == "litellm_request")
    assert len(own.attributes) > 5
    assert "ended span" not in caplog.text
