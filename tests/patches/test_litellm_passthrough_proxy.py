"""What a route of the proxy server hands on, called as its routes call it. The server has tests of its own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import get_current

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.demo.children import free_port
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.patches.litellm.hooks import passthrough_proxy
from tests.patches.litellm_entries import QUESTION, only

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

pytest.importorskip("backoff", reason="litellm's proxy needs its extra")


async def passed_through(address: str, **body: Any) -> Any:
    """The proxy's response to a client's request."""
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.proxy.pass_through_endpoints import pass_through_endpoints as endpoints
    from starlette.requests import Request

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": json.dumps({"model": "letters", "messages": QUESTION, **body}).encode()}

    request = Request(
        {
            "type": "http",
            "method": "POST",
            "path": "/ours",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        },
        receive,
    )
    return await endpoints.pass_through_request(
        request=request,
        target=f"{address}/v1/chat/completions",
        custom_headers={},
        user_api_key_dict=UserAPIKeyAuth(),
    )


async def test_a_server_that_is_not_there_fails_the_call(tokenstream: Capture) -> None:
    """With litellm's own error, and nothing of ours is current afterwards."""
    before = get_current()
    with pytest.raises(Exception, match="Cannot connect") as raised:
        await passed_through(f"http://127.0.0.1:{free_port()}")

    assert get_current() is before
    generation = only(tokenstream)
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == raised.type.__name__


async def test_a_task_that_is_cancelled_meanwhile_cancels_the_call(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """The client has gone before the provider's answer began."""
    provider.scripts["letters"] = Script(first_piece=20)
    task = asyncio.create_task(passed_through(provider.address))
    while not provider.log.exchanges():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert only(tokenstream).outcome == "cancelled"


async def test_a_stream_waits_for_nobody_until_it_is_read(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """What was current is so again; the request has been answered, and the client's first read is still to come."""
    provider.scripts["letters"] = Script(pieces=list("abc"), gap=0)
    before = get_current()
    response = await passed_through(provider.address, stream=True)

    (call,) = in_flight.snapshot()
    assert get_current() is before
    assert call.read_started == 0
    assert call.attempts[0].started < call.attempts[0].ended
    async for _ in response.body_iterator:
        pass
    assert only(tokenstream).outcome == "completed"


async def test_a_fault_of_ours_leaves_the_client_its_answer(
    provider: ScriptedProvider, tokenstream: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call ends; what the answer would have told is missing."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(passthrough_proxy, "parsed", broken)
    provider.scripts["letters"] = Script(pieces=list("abc"), gap=0)
    response = await passed_through(provider.address)

    assert json.loads(response.body)["choices"][0]["message"]["content"] == "abc"
    assert only(tokenstream).outcome == "completed"


async def test_a_plain_answer_has_the_providers_own_figures(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Nothing of it is invented or estimated; the price is litellm's for the model."""
    provider.scripts["gpt-4o"] = Script(pieces=list("abc"), gap=0)
    await passed_through(provider.address, model="gpt-4o")

    attributes = only(tokenstream).attributes
    assert attributes[signals.FINISH_REASONS] == ("stop",)
    assert attributes[signals.USAGE_OUTPUT_TOKENS] == 3
    assert signals.FINISH_REASON_SYNTHETIC not in attributes
    assert attributes[signals.USAGE_SOURCE] == "provider"
    assert attributes[signals.COST_USD] > 0
