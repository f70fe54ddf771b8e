from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Piece, Script, Usage, audio, reasoning, refusal, tool_call
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, drained, only, pieces

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

# Text first: its usual chunks are read another way than the rest.
TEXT = ("Let", " me")
CALL = tool_call('{"a":1}', name="look", call_id="call_1")


def asked(provider: ScriptedProvider, script: Script, **more: Any) -> dict[str, Any]:
    return {"model": "openai/test", "messages": QUESTION, "stream": True, **at(provider, {"test": script}), **more}


@pytest.mark.parametrize(
    ("beside", "kind", "characters"),
    [
        (CALL, "tool_call", 7),
        (reasoning("hm"), "reasoning", 2),
        (refusal("no"), "refusal", 2),
        (audio("la la"), "audio", 5),
    ],
    ids=["tool call", "reasoning", "refusal", "audio"],
)
@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_content_beside_a_text_is_read_too(
    provider: ScriptedProvider, tokenstream: Capture, name: str, beside: Piece, kind: str, characters: int
) -> None:
    """A chunk may bring text and something else at once, in the middle of a stream of text: it is one chunk."""
    script = Script(pieces=[*TEXT, Piece("text", " see", beside=beside), "!"], gap=0.001)
    chunks = await drained(getattr(litellm, name), **asked(provider, script))

    brought: Counter[str] = Counter()
    for of, chars in pieces(only(tokenstream)):
        brought[of] += chars
    assert brought == {"text": len("Let me see!"), kind: characters}
    assert only(tokenstream).attributes[signals.CHUNKS] == len(chunks)


def test_a_tool_call_beside_a_text_is_in_the_answer(provider: ScriptedProvider) -> None:
    """What is captured of the answer has the call with its name and id."""
    script = Script(pieces=[*TEXT, Piece("text", " see", beside=CALL)], gap=0.001)
    with capture(capture_content="SPAN_ONLY") as captured:
        list(litellm.completion(**asked(provider, script)))

    (said,) = json.loads(only(captured).attributes[signals.OUTPUT_MESSAGES])
    call = {"type": "tool_call", "id": "call_1", "name": "look", "arguments": {"a": 1}}
    assert said["parts"] == [{"type": "text", "content": "Let me see"}, call]


def test_choices_that_a_deployment_asks_for_are_not_mixed(provider: ScriptedProvider) -> None:
    """``n`` may stand in a router's deployment, unknown to the call: each choice is a message of its own."""
    script = Script(pieces=[Piece("text", text, choice=choice) for text in "abc" for choice in (0, 1)], gap=0.001)
    where = {"model": "openai/test", "n": 2, **at(provider, {"test": script})}
    router = litellm.Router(model_list=[{"model_name": "group", "litellm_params": where}], num_retries=0)
    with capture(capture_content="SPAN_AND_EVENT") as captured:
        list(router.completion("group", QUESTION, stream=True))

    said = json.loads(only(captured).attributes[signals.OUTPUT_MESSAGES])
    assert [message["parts"] for message in said] == [[{"type": "text", "content": "abc"}]] * 2
    assert only(captured).text == "abc"


# --- Sound ---------------------------------------------------------------------------------------

SPOKEN = Script(
    pieces=[audio("ab"), audio("cde"), audio("")],
    gap=0.001,
    usage=Usage(input=100, output=50, audio_input=30, audio_output=40),
)


@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_sound_is_a_token_and_no_visible_answer(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """Sound comes with its transcript, whose characters count; nothing of it is a first answer token."""
    chunks = await drained(getattr(litellm, name), **asked(provider, SPOKEN))

    generation = only(tokenstream)
    assert pieces(generation) == [("audio", 2), ("audio", 3), ("audio", 0)]
    assert generation.attributes[signals.CHUNKS] == len(chunks)
    assert signals.TIME_TO_FIRST_TOKEN_MS in generation.attributes
    assert signals.TIME_TO_FIRST_ANSWER_TOKEN_MS not in generation.attributes


@pytest.mark.parametrize("stream", [True, False])
def test_tokens_of_sound_are_counted_apart(provider: ScriptedProvider, tokenstream: Capture, stream: bool) -> None:
    """The audio tokens of prompt and answer, on the span and in the counter."""
    more = {"stream_options": {"include_usage": True}} if stream else {}
    result = litellm.completion(**asked(provider, SPOKEN, **more, stream=stream))
    if stream:
        list(result)

    about = only(tokenstream).attributes
    assert (about[signals.USAGE_INPUT_TOKENS], about[signals.USAGE_OUTPUT_TOKENS]) == (100, 50)
    assert (about[signals.USAGE_INPUT_BY_MODALITY["audio"]], about[signals.USAGE_OUTPUT_BY_MODALITY["audio"]]) == (
        30,
        40,
    )
    counted = {point.attributes[signals.TOKEN_TYPE]: point.value for point in tokenstream.metrics[signals.TOKENS]}
    assert (counted["audio_input"], counted["audio_output"]) == (30, 40)
