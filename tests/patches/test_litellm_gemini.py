from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage, reasoning, tool_call
from otel_tokenstream.patches.litellm.apis import gemini
from tests.patches.litellm_entries import at, drained, only, passages, pieces, read, usage

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

pytest.importorskip("mcp", reason="litellm's generate_content imports it")
from litellm import google_genai

MODEL = "gemini-2.5-flash"
CONTENTS = [{"role": "user", "parts": [{"text": "Why are there tides?"}]}]
MIXED = Script(
    pieces=[reasoning("hm"), "abc", tool_call('{"x": 1}', name="f", call_id="c")],
    gap=0.002,
    usage=Usage(input=100, output=50, cached=40, reasoning=10),
)
COUNTS = {"input": 100, "output": 50, "cached": 40, "reasoning": 10, "source": "provider"}


def asked(provider: ScriptedProvider, script: Script = MIXED) -> dict[str, Any]:
    config = {"temperature": 0.5, "maxOutputTokens": 99}
    return {"model": f"gemini/{MODEL}", "contents": CONTENTS, "config": config, **at(provider, {MODEL: script})}


def test_prompt_tokens_added_by_tools_are_counted() -> None:
    """Gemini counts the results of its own tools apart from the prompt."""
    counts = {"promptTokenCount": 100, "toolUsePromptTokenCount": 55, "candidatesTokenCount": 10}
    assert usage(read(gemini.ENDPOINT, [{"usageMetadata": counts}]))["input"] == 155


def test_a_blocked_prompt_says_why_there_is_no_answer() -> None:
    """There is no candidate then that could have a finish reason."""
    call = read(gemini.ENDPOINT, [{"promptFeedback": {"blockReason": "SAFETY"}}])
    assert call.attributes[signals.FINISH_REASONS] == ("SAFETY",)


@pytest.mark.parametrize("name", ["generate_content_stream", "agenerate_content_stream"])
async def test_a_stream_is_one_span(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """Gemini's bytes: thoughts are reasoning and counted into the output, as the convention wants it."""
    await drained(getattr(google_genai, name), **asked(provider))

    generation = only(tokenstream)
    assert generation.name == f"generate_content {MODEL}"
    assert passages(generation) == [("reasoning", 2), ("text", 3), ("tool_call", 8)]
    assert usage(generation) == COUNTS
    assert generation.attributes[signals.FINISH_REASONS] == ("STOP",)
    assert generation.attributes[signals.REQUEST_MAX_TOKENS] == 99
    assert generation.attributes[signals.REQUEST_TEMPERATURE] == 0.5


@pytest.mark.parametrize("name", ["generate_content", "agenerate_content"])
async def test_a_plain_answer_is_one_span(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """Not streamed, sync and async."""
    await drained(getattr(google_genai, name), **asked(provider))

    assert only(tokenstream).outcome == "completed"
    assert signals.REQUEST_STREAM not in only(tokenstream).attributes
    assert usage(only(tokenstream)) == COUNTS


@pytest.mark.parametrize("name", ["generate_content", "generate_content_stream"])
async def test_an_answer_of_thoughts_alone_is_counted(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """A limit that the thoughts used up leaves no candidate's tokens: the output is the thoughts."""
    script = Script(pieces=[reasoning("hm")], gap=0, usage=Usage(input=10, output=500, reasoning=500), ending="length")
    await drained(getattr(google_genai, name), **asked(provider, script))

    counted = {"input": 10, "output": 500, "cached": 0, "reasoning": 500, "source": "provider"}
    assert usage(only(tokenstream)) == counted


async def test_a_stream_bridged_from_chat_is_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """For another provider litellm makes Gemini's chunks from a chat stream: still one call."""
    where = at(provider, {"letters": Script(pieces=["a", "bc"], gap=0.002)})
    await drained(google_genai.agenerate_content_stream, model="deepseek/letters", contents=CONTENTS, **where)

    assert provider.log.settled(1)[0].path == "/v1/chat/completions"
    assert pieces(only(tokenstream)) == [("text", 1), ("text", 2)]


async def test_an_error_in_the_stream_fails_the_call(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The error comes as a chunk and the stream ends as if all were well: the outcome is a failure."""
    script = Script(pieces=["a", "b"], gap=0, ends_after=1, ending="error_frame", error_type="UNAVAILABLE")
    await drained(google_genai.agenerate_content_stream, **asked(provider, script))

    assert only(tokenstream).outcome == "failed"
    assert only(tokenstream).attributes[signals.ERROR_TYPE] == "UNAVAILABLE"
