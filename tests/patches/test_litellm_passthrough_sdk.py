from __future__ import annotations

import asyncio
import gc
import inspect
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage, reasoning, tool_call
from otel_tokenstream.patches.litellm.apis import raw_apis
from otel_tokenstream.testing import capture
from tests.patches.bedrock_provider import BedrockProvider
from tests.patches.litellm_entries import attempts, only, passages, pieces, read, usage
from tests.patches.replay import chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.testing import Capture

pytestmark = pytest.mark.skipif(
    not hasattr(getattr(litellm, "passthrough", None), "main")
    or not hasattr(litellm.passthrough.main, "AsyncPassthroughStreamingResponse"),
    reason="old versions of litellm relay in their proxy server only, later ones keep errors to themselves",
)
pytest.importorskip("botocore", reason="litellm needs it for Bedrock")

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
CONVERSE = {
    "messages": [{"role": "user", "content": [{"text": "Why are there tides?"}]}],
    "inferenceConfig": {"maxTokens": 99},
}
INVOKE = {
    "messages": [{"role": "user", "content": "Why are there tides?"}],
    "max_tokens": 99,
    "anthropic_version": "bedrock-2023-05-31",
}
CHAT = {"messages": INVOKE["messages"], "model": "letters", "max_tokens": 99}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
# What is asked for: endpoint and body.
STREAMS = {
    "converse": (f"/model/{CLAUDE}/converse-stream", CONVERSE),
    "invoke": (f"/model/{CLAUDE}/invoke-with-response-stream", INVOKE),
    "chat": ("v1/chat/completions", {**CHAT, **WITH_USAGE}),
}
ANSWERS = {
    "converse": (f"/model/{CLAUDE}/converse", CONVERSE),
    "invoke": (f"/model/{CLAUDE}/invoke", INVOKE),
    "chat": ("v1/chat/completions", CHAT),
}
MIXED = Script(
    pieces=[reasoning("hm"), "abc", "d", tool_call('{"x":1}', name="f", call_id="c")],
    gap=0.02,
    usage=Usage(input=100, output=50, cached=40),
)
LETTERS = Script(pieces=list("abcdefgh"), gap=0.02)
ENDLESS = Script(pieces=["a"] * 500, gap=0.02)
FAILING = Script(ending="http_error", status=503)

NAMES = ("llm_passthrough_route", "allm_passthrough_route")
BEFORE = {name: getattr(litellm, name, None) for name in NAMES}  # before anything is instrumented

both_ways = pytest.mark.parametrize("name", NAMES)
each_stream = pytest.mark.parametrize("api", STREAMS)
each_answer = pytest.mark.parametrize("api", ANSWERS)


@pytest.fixture(scope="module")
def running_provider() -> Iterator[BedrockProvider]:
    with BedrockProvider() as provider:
        yield provider


def where(provider: BedrockProvider, api: str) -> dict[str, Any]:
    if api == "chat":
        return {"model": "letters", "custom_llm_provider": "vllm", "api_base": provider.address}
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none", "aws_region_name": "us-east-1"}
    return {"model": f"bedrock/{CLAUDE}", "api_base": provider.address, **keys}


async def relayed(
    provider: BedrockProvider, name: str, api: str, asked: dict[str, Any], script: Script = LETTERS
) -> Any:
    """What litellm gives for an endpoint and a body."""
    provider.scripts |= {CLAUDE: script, "letters": script}
    endpoint, body = asked[api]
    argument = "json" if api == "chat" else "data"
    result = getattr(litellm, name)(method="POST", endpoint=endpoint, **{argument: dict(body)}, **where(provider, api))
    return await result if name.startswith("a") else result


async def body_of(result: Any) -> list[bytes]:
    if isinstance(result, AsyncGenerator):
        return [chunk async for chunk in result]
    return list(result) if isinstance(result, Generator) else [result.content]


async def next_of(stream: Any) -> bytes:
    return await anext(stream) if isinstance(stream, AsyncGenerator) else next(stream)


async def close(stream: Any) -> None:
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()
    else:
        stream.close()


# --- What is told ------------------------------------------------------------------------------


@both_ways
@each_stream
async def test_a_stream_is_one_span(provider: BedrockProvider, tokenstream: Capture, name: str, api: str) -> None:
    """Text, reasoning, tool call, reason and usage are read from the bytes."""
    chunks = await body_of(await relayed(provider, name, api, STREAMS, MIXED))

    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert generation.name == f"chat {'letters' if api == 'chat' else CLAUDE}"
    assert generation.attributes[signals.PROVIDER_NAME] == ("vllm" if api == "chat" else "aws.bedrock")
    assert generation.attributes[signals.SERVER_PORT] == provider.port
    assert generation.attributes[signals.REQUEST_STREAM] is True
    assert generation.attributes[signals.REQUEST_MAX_TOKENS] == 99
    assert generation.attributes[signals.CHUNKS] == len(chunks)
    assert passages(generation) == [("reasoning", 2), ("text", 4), ("tool_call", 7)]
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls" if api == "chat" else "tool_use",)
    assert usage(generation).items() >= {"input": 100, "output": 50, "cached": 40, "source": "provider"}.items()


@both_ways
@each_answer
async def test_a_plain_answer_is_one_span(provider: BedrockProvider, tokenstream: Capture, name: str, api: str) -> None:
    """It stays litellm's own response; its body is read beside the program."""
    (body,) = await body_of(await relayed(provider, name, api, ANSWERS, MIXED))

    assert b"abcd" in body
    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert signals.REQUEST_STREAM not in generation.attributes
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls" if api == "chat" else "tool_use",)
    assert usage(generation).items() >= {"input": 100, "output": 50, "cached": 40, "source": "provider"}.items()
    assert len(provider.log.settled(1)) == 1


@pytest.mark.parametrize("api", ["converse", "invoke"])
async def test_frames_are_found_however_they_are_cut(provider: BedrockProvider, tokenstream: Capture, api: str) -> None:
    """Several frames in one chunk of bytes, and one frame in several."""
    script = Script(pieces=MIXED.pieces, gap=0, frames_per_write=100, bytes_per_write=300, usage=MIXED.usage)
    chunks = await body_of(await relayed(provider, "allm_passthrough_route", api, STREAMS, script))

    generation = only(tokenstream)
    assert generation.attributes[signals.CHUNKS] == len(chunks)
    assert passages(generation) == [("reasoning", 2), ("text", 4), ("tool_call", 7)]
    assert generation.attributes[signals.USAGE_INPUT_TOKENS] == 100


def test_events_of_one_read_are_one_chunk() -> None:
    """A chunk is as much as the caller gets at once: its events add up, with one arrival and no gap between them."""
    entry = raw_apis.endpoint_for("/v1/chat/completions")
    assert entry is not None
    one, two, three = (f"data: {json.dumps(chunk({'content': text}))}\n\n".encode() for text in ("ab", "c", "def"))
    generation = read(entry, [one + two, three])

    assert generation.attributes[signals.CHUNKS] == 2
    assert pieces(generation) == [("text", 3), ("text", 3)]


async def test_content_is_told_where_it_is_asked_for(provider: BedrockProvider) -> None:
    """Converse's blocks become the convention's parts, in the prompt and in the answer."""
    tools = [{"toolSpec": {"name": "f", "description": "does", "inputSchema": {"json": {"type": "object"}}}}]
    said = [
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "b", "name": "f", "input": {"x": 0}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "b", "content": [{"json": {"y": 2}}]}}]},
    ]
    body = {
        "system": [{"text": "Be brief."}],
        "messages": [*CONVERSE["messages"], *said],
        "toolConfig": {"tools": tools},
    }
    with capture(capture_content="SPAN_ONLY") as captured:
        asked = {"converse": (f"/model/{CLAUDE}/converse", body)}
        await body_of(await relayed(provider, "allm_passthrough_route", "converse", asked, MIXED))
    told = only(captured).attributes

    assert json.loads(told[signals.INPUT_MESSAGES]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Why are there tides?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "b", "name": "f", "arguments": {"x": 0}}]},
        {"role": "user", "parts": [{"type": "tool_call_response", "id": "b", "response": {"y": 2}}]},
    ]
    assert json.loads(told[signals.SYSTEM_INSTRUCTIONS]) == [{"type": "text", "content": "Be brief."}]
    (answer,) = json.loads(told[signals.OUTPUT_MESSAGES])
    assert answer["parts"] == [
        {"type": "reasoning", "content": "hm"},
        {"type": "text", "content": "abcd"},
        {"type": "tool_call", "id": "c", "name": "f", "arguments": {"x": 1}},
    ]
    (offered,) = json.loads(told[signals.TOOL_DEFINITIONS])
    assert (offered["name"], offered["parameters"]) == ("f", {"type": "object"})


# --- What the caller sees ----------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("asked", [STREAMS, ANSWERS], ids=["streamed", "plain"])
async def test_bytes_are_those_of_the_uninstrumented_run(
    provider: BedrockProvider, name: str, asked: dict[str, Any]
) -> None:
    """Of requests and answers alike, down to the names of the headers."""

    async def ask() -> tuple[Any, ...]:
        provider.log.clear()
        result = await relayed(provider, name, "converse", asked, MIXED)
        body = b"".join(await body_of(result))
        (exchange,) = provider.log.settled(1)
        return body, isinstance(result, Generator), exchange.body, exchange.path, set(exchange.headers)

    bare = await ask()
    with capture():
        assert await ask() == bare


async def test_the_stream_is_litellms_own_class(provider: BedrockProvider, tokenstream: Capture) -> None:
    """With its status and headers; it can be awaited and asked for its bytes, which are those that are counted."""
    stream = await relayed(provider, "allm_passthrough_route", "converse", STREAMS)

    assert isinstance(stream, litellm.passthrough.main.AsyncPassthroughStreamingResponse)
    assert not inspect.iscoroutine(stream)
    assert stream.status_code == 200
    assert await stream is stream
    chunks = [chunk async for chunk in stream.aiter_bytes()]
    assert only(tokenstream).attributes[signals.CHUNKS] == len(chunks)
    assert only(tokenstream).outcome == "completed"


# --- How it ends -------------------------------------------------------------------------------


@both_ways
@each_stream
async def test_an_error_before_the_stream_is_litellms_own(provider: BedrockProvider, name: str, api: str) -> None:
    """The same class as without us, and a failed span."""
    with pytest.raises(Exception) as bare:  # noqa: PT011  # compared below
        await relayed(provider, name, api, STREAMS, FAILING)
    with capture() as captured, pytest.raises(Exception) as ours:  # noqa: PT011
        await relayed(provider, name, api, STREAMS, FAILING)

    assert type(ours.value) is type(bare.value)
    assert str(ours.value) == str(bare.value)
    generation = only(captured)
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == type(bare.value).__qualname__


@both_ways
@pytest.mark.parametrize("api", ["converse", "invoke"])
async def test_an_error_in_the_stream_fails_the_call(
    provider: BedrockProvider, tokenstream: Capture, name: str, api: str
) -> None:
    """Bedrock's exceptions come as frames, under a body that ends as if all were well."""
    script = Script(pieces=["a", "b"], gap=0.02, ending="error_frame", error_type="throttlingException")
    await body_of(await relayed(provider, name, api, STREAMS, script))

    generation = only(tokenstream)
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == "throttlingException"
    assert passages(generation) == [("text", 2)]
    assert generation.attributes[signals.FINISH_REASONS] == ("error",)


@both_ways
@each_stream
async def test_a_cut_socket_fails_the_call(
    provider: BedrockProvider, tokenstream: Capture, name: str, api: str
) -> None:
    """The caller gets the error that it got before."""
    stream = await relayed(provider, name, api, STREAMS, Script(pieces=["a", "b"], gap=0.02, ending="cut"))
    with pytest.raises(Exception) as raised:  # noqa: PT011  # whichever litellm gives
        await body_of(stream)

    generation = only(tokenstream)
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == type(raised.value).__qualname__


@both_ways
@each_stream
async def test_a_closed_stream_lets_its_connection_go(
    provider: BedrockProvider, tokenstream: Capture, name: str, api: str
) -> None:
    """The caller closes it in the middle."""
    stream = await relayed(provider, name, api, STREAMS, ENDLESS)
    await next_of(stream)
    await close(stream)

    assert only(tokenstream).outcome == "closed"
    (exchange,) = await asyncio.to_thread(provider.log.settled)
    assert exchange.ended == "disconnected"


@both_ways
@each_stream
async def test_a_dropped_stream_is_abandoned(
    provider: BedrockProvider, tokenstream: Capture, name: str, api: str
) -> None:
    """The caller forgets it in the middle."""
    stream = await relayed(provider, name, api, STREAMS, ENDLESS)
    await next_of(stream)
    del stream
    gc.collect()

    assert only(tokenstream).outcome == "abandoned"


@each_stream
async def test_a_cancelled_task_has_cancelled_its_stream(
    provider: BedrockProvider, tokenstream: Capture, api: str
) -> None:
    """While it waits for the next bytes."""
    script = Script(pieces=["a", "b"], gap=0.02, pauses={1: 60})
    stream = await relayed(provider, "allm_passthrough_route", api, STREAMS, script)
    started = asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            started.set()

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await stream.aclose()

    assert only(tokenstream).outcome == "cancelled"


# --- Around it ---------------------------------------------------------------------------------


async def test_a_routers_group_is_one_span(provider: BedrockProvider, tokenstream: Capture) -> None:
    """By the group's name; its deployment's name is put into the endpoint by litellm."""
    provider.scripts[CLAUDE] = MIXED
    deployment = {"model_name": "claude", "litellm_params": where(provider, "converse")}
    stream = await litellm.Router(model_list=[deployment]).allm_passthrough_route(
        method="POST", endpoint="/model/claude/converse-stream", model="claude", data=dict(CONVERSE)
    )
    chunks = await body_of(stream)

    assert provider.log.settled(1)[0].model == CLAUDE
    generation = only(tokenstream)
    assert generation.name == "chat claude"
    assert generation.attributes[signals.PROVIDER_NAME] == "aws.bedrock"
    assert generation.attributes[signals.SERVER_PORT] == provider.port
    assert generation.attributes[signals.CHUNKS] == len(chunks)
    assert generation.outcome == "completed"


@pytest.mark.parametrize("more", [{"fallbacks": [{"bad": ["good"]}]}, {"num_retries": 1}], ids=["fallback", "retry"])
async def test_a_routers_further_request_is_an_attempt(
    provider: BedrockProvider, tokenstream: Capture, more: dict[str, Any]
) -> None:
    """One span, whatever it took."""
    provider.scripts |= {"broken": [FAILING, LETTERS], "letters": LETTERS}
    about = where(provider, "chat")
    models = {"bad": "broken", "good": "letters"}
    group = litellm.Router(
        model_list=[
            {"model_name": name, "litellm_params": {**about, "model": model}} for name, model in models.items()
        ],
        **{"num_retries": 0, "retry_after": 0, "disable_cooldowns": True, **more},
    )
    endpoint, body = STREAMS["chat"]
    asked = {"method": "POST", "endpoint": endpoint, "model": "bad", "json": {**body, "model": "bad"}}
    await body_of(await group.allm_passthrough_route(**asked))

    generation = only(tokenstream)
    assert generation.name == "chat bad"
    assert generation.outcome == "completed"
    assert attempts(generation) == [
        (1, "broken", "HTTPStatusError"),
        (2, "letters" if "fallbacks" in more else "broken", None),
    ]


@both_ways
async def test_functions_imported_earlier_are_instrumented(
    provider: BedrockProvider, tokenstream: Capture, name: str
) -> None:
    """Programs keep the functions under names of their own, and make their routers early."""
    provider.scripts["letters"] = LETTERS
    endpoint, body = STREAMS["chat"]
    result = BEFORE[name](method="POST", endpoint=endpoint, json=dict(body), **where(provider, "chat"))
    chunks = await body_of(await result if name.startswith("a") else result)

    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert generation.attributes[signals.CHUNKS] == len(chunks)


@both_ways
async def test_requests_for_other_things_than_text_are_no_generation(
    provider: BedrockProvider, tokenstream: Capture, name: str
) -> None:
    """Embeddings, lists of models and the like take the same way and are no generation."""
    for method, endpoint in (("POST", "v1/embeddings"), ("GET", "v1/models"), ("GET", "v1/chat/completions")):
        with suppress(Exception):  # the provider has no embeddings
            result = getattr(litellm, name)(method=method, endpoint=endpoint, **where(provider, "chat"))
            await result if name.startswith("a") else result

    assert tokenstream.generations == []


async def test_usage_is_not_asked_for_on_the_programs_behalf(provider: BedrockProvider) -> None:
    """The body is the program's own, whatever the setting says."""
    asked = {"chat": ("v1/chat/completions", {**CHAT, "stream": True})}
    with capture(request_usage=True):
        await body_of(await relayed(provider, "allm_passthrough_route", "chat", asked))

    assert b"stream_options" not in provider.log.settled(1)[0].body
