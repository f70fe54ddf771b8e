"""Calls that litellm's native code answers, and a route whose native code is yet to come.

The latter goes through litellm's own dispatch: a rule of its catalogue sends chat to native code, and its binding
is given code that asks the provider over HTTP and gives what litellm's native streams give.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.demo.provider import Script, Usage
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, attempts, drained, only, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

execution = pytest.importorskip("litellm.rust_bridge.execution", reason="this litellm has no native routes like these")

COUNTED = Script(pieces=["a", "bc", "d"], gap=0.002, usage=Usage(input=1000, output=500))
HANGS = Script(pieces=["a", "b"], gap=0.002, ending="hang")
both_ways = pytest.mark.parametrize("name", ["completion", "acompletion"])


class Native:
    """What litellm's native code is to its dispatch: a call's execution, in steps."""

    def __init__(self, base_url: str, *, declines: bool = False) -> None:
        self.base_url = base_url
        self.declines = declines

    def asked(self) -> dict[str, Any]:
        if self.declines:
            raise litellm.rust_bridge._native.RustBridgeDeclined
        body = {"model": "test", "messages": QUESTION, "stream": True, "stream_options": {"include_usage": True}}
        return {"url": f"{self.base_url}/chat/completions", "json": body}

    def sync(self, _: Any) -> Iterator[Any]:
        with httpx.Client() as client, client.stream("POST", **self.asked()) as response:
            response.raise_for_status()
            yield execution.StreamOpen({})
            try:
                for line in response.iter_lines():
                    if (chunk := chunk_of(line)) is not None:
                        yield execution.StreamChunk(chunk)
            except execution.StreamClosed:
                pass
        yield execution.Complete(None)

    def steps(self, _: Any) -> Iterator[Any]:
        asked, client = self.asked(), httpx.AsyncClient()
        request = client.build_request("POST", asked["url"], json=asked["json"])
        response = yield execution.Await(client.send(request, stream=True))
        response.raise_for_status()
        yield execution.StreamOpen({})
        lines = response.aiter_lines()
        try:
            while (line := (yield execution.Await(anext(lines, None)))) is not None:
                if (chunk := chunk_of(line)) is not None:
                    yield execution.StreamChunk(chunk)
        except execution.StreamClosed:
            pass
        yield execution.Await(client.aclose())
        yield execution.Complete(None)


def chunk_of(line: str) -> Any:
    data = line.removeprefix("data: ")
    return litellm.ModelResponseStream(**json.loads(data)) if data.startswith("{") else None


@pytest.fixture
def to_native(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Native]:
    from litellm.rust_bridge import catalog
    from litellm.rust_bridge.chat_completions import entrypoints

    rules = (catalog.RouteRule(catalog.Route.CHAT_COMPLETIONS, catalog.Rollout.RUST_OPT_OUT),)
    monkeypatch.setattr(catalog, "RULES", rules)
    native = Native(provider.base_url)
    entrypoints.NATIVE_COMPLETION.override(execution.synchronous(native.sync))
    entrypoints.NATIVE_ACOMPLETION.override(execution.asynchronous(native.steps))
    yield native
    entrypoints.NATIVE_COMPLETION.reset()
    entrypoints.NATIVE_ACOMPLETION.reset()


def asked(provider: ScriptedProvider, script: Script = COUNTED, **more: Any) -> dict[str, Any]:
    return {"model": "openai/test", "messages": QUESTION, "stream": True, **at(provider, {"test": script}), **more}


@pytest.mark.usefixtures("to_native")
@both_ways
async def test_a_stream_of_native_code_is_one_span(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """With its chunks, its words and its counts; litellm's Python code takes no part."""
    chunks = await drained(getattr(litellm, name), **asked(provider))

    generation = only(tokenstream)
    assert (generation.name, generation.outcome) == ("chat test", "completed")
    assert generation.attributes[signals.CHUNKS] == len(chunks) > 3
    assert usage(generation) == {"input": 1000, "output": 500, "cached": 0, "reasoning": 0, "source": "provider"}
    assert generation.attributes[signals.FINISH_REASONS] == ("stop",)
    assert generation.attributes[signals.SERVER_PORT] == provider.port
    assert len(provider.log.settled(1)) == 1


@both_ways
async def test_calls_that_native_code_declines_run_in_python(
    provider: ScriptedProvider, tokenstream: Capture, to_native: Native, name: str
) -> None:
    """One call, one attempt: nobody was asked before."""
    to_native.declines = True
    chunks = await drained(getattr(litellm, name), **asked(provider))

    assert only(tokenstream).attributes[signals.CHUNKS] == len(chunks)
    assert attempts(only(tokenstream)) == []


@pytest.mark.usefixtures("to_native")
@both_ways
async def test_an_error_of_native_code_is_the_calls(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    with pytest.raises(httpx.HTTPStatusError):
        await drained(getattr(litellm, name), **asked(provider, Script(ending="http_error", status=500)))

    assert only(tokenstream).outcome == "failed"
    assert only(tokenstream).attributes[signals.ERROR_TYPE] == "HTTPStatusError"


@pytest.mark.usefixtures("to_native")
def test_a_native_stream_that_is_closed_or_dropped_says_so(provider: ScriptedProvider, tokenstream: Capture) -> None:
    stream = litellm.completion(**asked(provider, HANGS))
    next(stream)
    stream.close()
    stream = litellm.completion(**asked(provider, HANGS))
    next(stream)
    del stream
    in_flight.finish_dropped()

    assert [generation.outcome for generation in tokenstream.generations] == ["closed", "abandoned"]


@pytest.mark.usefixtures("to_native")
async def test_a_native_stream_that_is_cancelled_says_so(provider: ScriptedProvider, tokenstream: Capture) -> None:
    task = asyncio.create_task(drained(litellm.acompletion, **asked(provider, HANGS)))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert only(tokenstream).outcome == "cancelled"


@pytest.mark.usefixtures("to_native")
@both_ways
async def test_the_program_is_not_shown_usage_it_did_not_ask_for(provider: ScriptedProvider, name: str) -> None:
    """Native streams keep no options that could be set back: what the request added is left out of the stream."""
    with capture(request_usage=True) as captured:
        chunks = await drained(getattr(litellm, name), **asked(provider))

    assert [chunk for chunk in chunks if getattr(chunk, "usage", None) and not chunk.choices] == []
    assert usage(only(captured))["output"] == 500


# --- A route of litellm's own ------------------------------------------------------------------

MESSAGES = {"model": "anthropic/claude-sonnet-4-5", "max_tokens": 50, "messages": QUESTION}


@pytest.mark.parametrize("stream", [True, False])
async def test_messages_by_native_code_are_as_by_python_code(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """``litellm.rust(True)`` changes nothing that is told of a call."""
    for name in ("fastapi", "mcp", "soundfile"):
        pytest.importorskip(name, reason="litellm's messages import its proxy")
    monkeypatch.delenv("LITELLM_RUST", raising=False)
    where = {**at(provider, {"claude-sonnet-4-5": COUNTED}), "api_base": provider.address}
    told, native = [], []
    for rust in (False, True):
        litellm.rust(rust)
        try:
            with capture() as captured:
                result = await litellm.anthropic.messages.acreate(**MESSAGES, **where, stream=stream)
                native.append(type(result).__name__)
                said = b"".join([chunk async for chunk in result]) if stream else result
        finally:
            litellm.rust(None)
        generation = only(captured)
        about = (generation.name, generation.outcome, usage(generation), generation.attributes[signals.FINISH_REASONS])
        told.append((*about, generation.attributes[signals.COST_USD], generation.attributes[signals.RESPONSE_MODEL]))
        assert said
        assert (signals.CHUNKS in generation.attributes) is stream
    assert told[0] == told[1]
    assert not stream or native[0] != native[1]
