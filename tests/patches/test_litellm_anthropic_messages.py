from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage, reasoning, tool_call
from otel_tokenstream.patches.litellm.apis import anthropic_messages
from tests.patches.litellm_entries import QUESTION, at, drained, only, passages, pieces, read, usage

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

pytest.importorskip("mcp", reason="litellm's messages import it")
import litellm

MODEL = "claude-sonnet-4-5"
MIXED = Script(
    pieces=[reasoning("hm"), "abc", "d", tool_call('{"x":1}', name="f", call_id="c")],
    gap=0.05,
    usage=Usage(input=100, output=50, cached=40),
)


def asked(provider: ScriptedProvider, script: Script, **more: Any) -> dict[str, Any]:
    where = {**at(provider, {MODEL: script}), "api_base": provider.address}
    return {"model": f"anthropic/{MODEL}", "messages": QUESTION, "max_tokens": 99, **where, **more}


async def test_native_bytes_are_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """litellm hands Anthropic's bytes on: content, reason and usage are read from the events in them."""
    chunks = await drained(litellm.anthropic.messages.acreate, **asked(provider, MIXED, stream=True))

    assert all(isinstance(chunk, bytes) for chunk in chunks)
    generation = only(tokenstream)
    assert passages(generation) == [("reasoning", 2), ("text", 4), ("tool_call", 7)]
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_use",)
    assert usage(generation) == {"input": 100, "output": 50, "cached": 40, "source": "provider"}
    assert generation.attributes[signals.REQUEST_MAX_TOKENS] == 99


async def test_a_plain_answer_is_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Not streamed: a dictionary, read as such."""
    await drained(litellm.anthropic.messages.acreate, **asked(provider, MIXED))

    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_use",)
    assert usage(generation) == {"input": 100, "output": 50, "cached": 40, "source": "provider"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_all_in_the_cache_is_counted(
    provider: ScriptedProvider, tokenstream: Capture, stream: bool
) -> None:
    """Anthropic says that it read no fresh token: the input is the cached ones."""
    script = Script(pieces=["a"], gap=0, usage=Usage(input=2000, output=9, cached=2000))
    await drained(litellm.anthropic.messages.acreate, **asked(provider, script, stream=stream))

    assert usage(only(tokenstream)) == {"input": 2000, "output": 9, "cached": 2000, "source": "provider"}


async def test_usage_of_a_broken_answer_is_unknown(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Anthropic's opening event says one token, whatever comes: on a stream that is left that is no count."""
    given = asked(provider, Script(pieces=list("abcdef"), ending="hang", usage=Usage(input=7, output=400)), stream=True)
    stream = await litellm.anthropic.messages.acreate(**given)
    chat = litellm.completion(**given)
    async for _ in stream:
        break
    await stream.aclose()
    next(chat)
    del chat

    told = [usage(each) for each in tokenstream.generations]
    assert [(each["input"], "output" in each, "reasoning" in each) for each in told] == [(7, False, False)] * 2


async def test_a_count_that_was_only_begun_is_none_where_the_reason_is_invented(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """A gateway that ends the body in mid-answer: litellm says stop, and the opening event's token is no count."""
    given = asked(provider, Script(pieces=["a", "b"], ending="none", usage=Usage(input=7, output=400)), stream=True)
    with suppress(litellm.ServiceUnavailableError):  # what newer versions raise in the place of a reason
        await drained(litellm.completion, **given)

    (generation,) = tokenstream.generations
    assert generation.attributes.get(signals.FINISH_REASON_SYNTHETIC) is (generation.outcome == "completed" or None)
    assert "output" not in usage(generation)
    assert signals.COST_USD not in generation.attributes


def test_tools_of_anthropics_own_have_their_names() -> None:
    """A search that the provider makes is a tool call like the program's."""
    block = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}
    events = [
        {"type": "content_block_start", "index": 1, "content_block": block},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"q": 1}'}},
    ]
    call = read(anthropic_messages.ENDPOINT, events)

    (part,) = json.loads(call.attributes[signals.OUTPUT_MESSAGES])[0]["parts"]
    assert (part["id"], part["name"], part["arguments"]) == ("srv_1", "web_search", {"q": 1})


async def test_bytes_bridged_from_chat_are_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """For another provider litellm makes Anthropic's events from a chat stream: still one call."""
    where = at(provider, {"letters": Script(pieces=[reasoning("hm"), "abc"], gap=0.002)})
    call = {"model": "groq/letters", "messages": QUESTION, "max_tokens": 99, "stream": True}
    await drained(litellm.anthropic.messages.acreate, **call, **where)

    assert provider.log.settled(1)[0].path == "/v1/chat/completions"
    assert pieces(only(tokenstream)) == [("reasoning", 2), ("text", 3)]


async def test_an_error_event_fails_the_call(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The bytes carry an error and end as if all were well: the outcome is a failure."""
    script = Script(pieces=["a", "b"], gap=0, ends_after=1, ending="error_frame", error_type="overloaded_error")
    await drained(litellm.anthropic.messages.acreate, **asked(provider, script, stream=True))

    assert only(tokenstream).outcome == "failed"
    assert only(tokenstream).attributes[signals.ERROR_TYPE] == "overloaded_error"
    assert pieces(only(tokenstream)) == [("text", 1)]


async def test_an_error_event_that_tells_a_story_has_no_name(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """What should be a name can hold anything: nothing of it leaves but that it was an error."""
    script = Script(pieces=["a"], gap=0, ending="error_frame", error_type="your prompt 'Why are there tides?' is bad")
    await drained(litellm.anthropic.messages.acreate, **asked(provider, script, stream=True))

    assert only(tokenstream).outcome == "failed"
    assert only(tokenstream).attributes[signals.ERROR_TYPE] == "_OTHER"


async def test_the_callers_leaving_is_not_litellms_drain(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """litellm reads the rest of the answer for its own accounts after the caller has gone: the call was closed."""
    script = Script(pieces=["a"] * 8, gap=0.05)
    stream = await litellm.anthropic.messages.acreate(**asked(provider, script, stream=True))
    await anext(aiter(stream))
    await stream.aclose()

    assert only(tokenstream).outcome == "closed"
    assert only(tokenstream).attributes[signals.CHUNKS] == 1


@pytest.mark.parametrize("compacted", [True, False])
async def test_a_compacted_conversation_is_marked(
    provider: ScriptedProvider, tokenstream: Capture, compacted: bool
) -> None:
    """Anthropic's compaction stands as a block among the messages."""
    before = {"role": "assistant", "content": [{"type": "compaction", "content": "so far"}]} if compacted else None
    conversation = [*QUESTION, *([before] if before else []), *QUESTION]
    await drained(litellm.anthropic.messages.acreate, **asked(provider, MIXED, stream=True, messages=conversation))

    assert only(tokenstream).attributes.get(signals.CONVERSATION_COMPACTED) is (True if compacted else None)
