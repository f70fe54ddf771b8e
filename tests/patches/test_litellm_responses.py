from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage, reasoning, refusal, tool_call
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import at, drained, only, pieces, usage

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

pytest.importorskip("mcp", reason="litellm's responses import it")
import litellm

MIXED = Script(
    pieces=[reasoning("hm"), "abc", refusal("no"), tool_call('{"x":', name="f", call_id="c", index=1), tool_call("1}")],
    gap=0.002,
    usage=Usage(input=100, output=50, cached=40, reasoning=10),
)
both_ways = pytest.mark.parametrize("name", ["responses", "aresponses"])
# A model whose streams litellm does not play from the whole answer.
MODEL = "gpt-4o"


@both_ways
async def test_native_events_are_one_span(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """The API's own events: each delta by its kind, usage and status from the last one."""
    where = at(provider, {MODEL: MIXED})
    asked: dict[str, Any] = {"model": f"openai/{MODEL}", "input": "Tides?", "stream": True, "max_output_tokens": 77}
    events = await drained(getattr(litellm, name), **asked, **where)

    assert events[-1].type == "response.completed"
    generation = only(tokenstream)
    assert generation.name == f"chat {MODEL}"
    said = [("reasoning", 2), ("text", 3), ("refusal", 2)]
    assert pieces(generation) == [*said, ("tool_call", 0), ("tool_call", 5), ("tool_call", 2)]  # its name comes first
    assert usage(generation) == {"input": 100, "output": 50, "cached": 40, "reasoning": 10, "source": "provider"}
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)
    assert generation.attributes[signals.REQUEST_MAX_TOKENS] == 77


@both_ways
async def test_a_tool_call_that_breaks_off_has_its_name(provider: ScriptedProvider, name: str) -> None:
    """Name and id come before the arguments, in an event of their own; they are captured with what came of those."""
    called = tool_call('{"city":', name="weather", call_id="call_1")
    where = at(provider, {MODEL: Script(pieces=["Let me see", called], gap=0.002, ending="cut")})
    with capture(capture_content="SPAN_ONLY") as captured, suppress(Exception):  # each version of litellm has its own
        await drained(getattr(litellm, name), model=f"openai/{MODEL}", input="Tides?", stream=True, **where)

    assert only(captured).outcome == "failed"
    (said,) = json.loads(only(captured).attributes[signals.OUTPUT_MESSAGES])
    assert said["parts"][-1] == {"type": "tool_call", "id": "call_1", "name": "weather", "arguments": '{"city":'}


@both_ways
async def test_events_bridged_from_chat_are_one_span(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """For a provider without that API litellm makes the events from a chat stream: still one call."""
    where = at(provider, {"letters": Script(pieces=["a", "bc"], gap=0.002)})
    await drained(getattr(litellm, name), model="deepseek/letters", input="Tides?", stream=True, **where)

    generation = only(tokenstream)
    assert provider.log.settled(1)[0].path == "/v1/chat/completions"
    assert generation.outcome == "completed"
    assert pieces(generation) == [("text", 1), ("text", 2)]
    assert usage(generation)["source"] == "provider"


@both_ways
async def test_a_plain_answer_is_one_span(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """Not streamed: usage, status and the model from the answer."""
    where = at(provider, {MODEL: Script(pieces=["a"], ending="length", usage=Usage(input=3, output=9))})
    await drained(getattr(litellm, name), model=f"openai/{MODEL}", input="Tides?", **where)

    generation = only(tokenstream)
    assert generation.attributes[signals.FINISH_REASONS] == ("length",)
    assert usage(generation) == {"input": 3, "output": 9, "cached": 0, "reasoning": 0, "source": "provider"}


async def test_an_error_event_fails_the_call(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """An error as an event under HTTP 200 raises, and is a failure with what came before kept."""
    script = Script(pieces=["a", "b"], gap=0, ends_after=1, ending="error_frame")
    with pytest.raises(litellm.exceptions.ServiceUnavailableError):
        await drained(
            litellm.aresponses, model=f"openai/{MODEL}", input="Tides?", stream=True, **at(provider, {MODEL: script})
        )

    assert only(tokenstream).outcome == "failed"
    assert pieces(only(tokenstream)) == [("text", 1)]
    assert only(tokenstream).attributes[signals.FINISH_REASONS] == ("error",)


@both_ways
async def test_a_continued_conversation_is_named(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """The earlier response, the stored prompt and that turns before were compacted, by the convention's attributes."""
    where = at(provider, {MODEL: Script(pieces=["abc"], gap=0.001)})
    compacted = [{"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}, {"role": "user", "content": "And?"}]
    asked: dict[str, Any] = {
        "model": f"openai/{MODEL}",
        "input": compacted,
        "stream": True,
        "previous_response_id": "resp_1",
        "prompt": {"id": "pmpt_1", "version": "2"},
    }
    await drained(getattr(litellm, name), **asked, **where)

    attributes = only(tokenstream).attributes
    assert attributes[signals.REQUEST_PREVIOUS_RESPONSE_ID] == "resp_1"
    assert (attributes[signals.PROMPT_NAME], attributes[signals.PROMPT_VERSION]) == ("pmpt_1", "2")
    assert attributes[signals.CONVERSATION_COMPACTED] is True


@both_ways
async def test_a_new_conversation_names_nothing(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """What a request does not have is absent."""
    where = at(provider, {MODEL: Script(pieces=["abc"], gap=0.001)})
    await drained(getattr(litellm, name), model=f"openai/{MODEL}", input="Tides?", stream=True, **where)

    absent = {
        signals.REQUEST_PREVIOUS_RESPONSE_ID,
        signals.PROMPT_NAME,
        signals.PROMPT_VERSION,
        signals.CONVERSATION_COMPACTED,
    }
    assert not absent & set(only(tokenstream).attributes)
