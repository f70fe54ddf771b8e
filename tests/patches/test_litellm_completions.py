from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage
from tests.patches.litellm_entries import at, drained, only, pieces, usage

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

LETTERS = Script(pieces=["a", "bc", "d"], gap=0.002, usage=Usage(input=10, output=5, cached=4))
both_ways = pytest.mark.parametrize("name", ["text_completion", "atext_completion"])


@both_ways
async def test_a_stream_is_one_span(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """text_completion calls completion inside; what it is called itself is what the span says."""
    where = at(provider, {"letters": LETTERS})
    asked: dict[str, Any] = {"model": "openai/letters", "prompt": "Tides?", "stream": True}
    chunks = await drained(getattr(litellm, name), **asked, **where)

    assert "".join(chunk.choices[0].text or "" for chunk in chunks) == "abcd"
    generation = only(tokenstream)
    assert generation.name == "text_completion letters"
    assert generation.outcome == "completed"
    assert pieces(generation) == [("text", 1), ("text", 2), ("text", 1)]
    assert signals.FINISH_REASON_SYNTHETIC not in generation.attributes


@both_ways
async def test_a_plain_answer_is_one_span_with_usage(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """Not streamed: what the provider reported, and the model it named."""
    where = at(provider, {"letters": Script(pieces=["a"], response_model="letters-2", usage=Usage(input=7, output=5))})
    await drained(getattr(litellm, name), model="openai/letters", prompt="Tides?", **where)

    generation = only(tokenstream)
    assert usage(generation) == {"input": 7, "output": 5, "cached": 0, "reasoning": 0, "source": "provider"}
    assert generation.attributes[signals.RESPONSE_MODEL] == "letters-2"
    assert generation.attributes[signals.FINISH_REASONS] == ("stop",)


@both_ways
async def test_an_invented_finish_reason_is_marked(provider: ScriptedProvider, tokenstream: Capture, name: str) -> None:
    """The provider ended the stream without a reason: litellm says stop, two streams deep."""
    where = at(provider, {"letters": Script(pieces=["a", "b"], gap=0, ending="none")})
    await drained(getattr(litellm, name), model="openai/letters", prompt="Tides?", stream=True, **where)

    assert only(tokenstream).attributes[signals.FINISH_REASONS] == ("stop",)
    assert only(tokenstream).attributes[signals.FINISH_REASON_SYNTHETIC] is True
