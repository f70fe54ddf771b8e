"""Content that is neither text nor a tool's call, in every API, known today or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call.model_call import COMPLETED
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import active
from otel_tokenstream.patches.litellm.apis import anthropic_messages, bedrock, gemini, raw_apis
from otel_tokenstream.testing import capture
from tests.patches.bedrock_provider import event as frame
from tests.patches.litellm_entries import QUESTION, drained, only, pieces, read
from tests.patches.replay import OPENING, chunk, replay

if TYPE_CHECKING:
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
    from otel_tokenstream.testing import Generation

PNG = "data:image/png;base64,AAAA"
BLOB = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "size": 3}
PICTURE = chunk({"images": [{"type": "image_url", "image_url": {"url": PNG}, "index": 0}]})


def parts(generation: Generation) -> list[Any]:
    (said,) = json.loads(generation.attributes[signals.OUTPUT_MESSAGES])
    return said["parts"]  # type: ignore[no-any-return]


def has_first_token(generation: Generation, *, after: int) -> bool:
    found = [each for each in generation.events if each.name == signals.FIRST_TOKEN_EVENT]
    return [each.attributes["tokenstream.index"] for each in found] == [after]


def answered(entry: Endpoint, answer: Any) -> Generation:
    """What becomes of a plain answer."""
    with capture(capture_content="SPAN_ONLY") as captured:
        telemetry = active()
        assert telemetry is not None
        call = telemetry.start(Request("chat", "scripted", "test", stream=False))
        assert call is not None
        entry.read_answer(call, answer)
        call.end(COMPLETED)
    return only(captured)


def relayed(*deltas: dict[str, Any]) -> Generation:
    """A chat stream as its bytes are on the wire, with fields that litellm's own classes may drop."""
    entry = raw_apis.endpoint_for("/v1/chat/completions")
    assert entry is not None
    events = [OPENING, *map(chunk, deltas), chunk({}, "stop")]
    return read(entry, [f"data: {json.dumps(event)}\n\n".encode() for event in events])


@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_a_picture_in_a_delta_is_a_token(name: str) -> None:
    """It is of a kind of its own, a part of the answer, and the stream counts as one that gave a token."""
    with (
        capture(capture_content="SPAN_AND_EVENT") as captured,
        replay(OPENING, PICTURE, chunk({}, "stop"), gap=0.005) as server,
    ):
        where = {"api_base": server.url, "api_key": "none"}
        await drained(getattr(litellm, name), model="openai/m", messages=QUESTION, stream=True, **where)

    assert pieces(only(captured)) == [("image", 0)]
    assert has_first_token(only(captured), after=1)
    assert signals.TIME_TO_FIRST_ANSWER_TOKEN_MS not in only(captured).attributes
    assert parts(only(captured)) == [BLOB]
    counted = [point.attributes for point in captured.metrics[signals.STREAMS] if point.value]
    assert [attributes[signals.FIRST_TOKEN_SEEN] for attributes in counted] == [True]


async def test_a_picture_beside_a_text_is_read_in_the_midst_of_the_stream() -> None:
    """The usual chunk of text is read another way than the rest."""
    beside = chunk({"content": "c", **PICTURE["choices"][0]["delta"]})
    with (
        capture(capture_content="SPAN_ONLY") as captured,
        replay(OPENING, chunk({"content": "a"}), chunk({"content": "b"}), beside, chunk({}, "stop"), gap=0) as server,
    ):
        where = {"api_base": server.url, "api_key": "none"}
        await drained(litellm.acompletion, model="openai/m", messages=QUESTION, stream=True, **where)

    assert parts(only(captured)) == [{"type": "text", "content": "abc"}, BLOB]


def test_a_picture_in_a_plain_answer_is_a_part() -> None:
    message = {"role": "assistant", "content": "Here", "images": [{"type": "image_url", "image_url": {"url": PNG}}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    with capture(capture_content="SPAN_ONLY") as captured, replay(plain=answer) as server:
        litellm.completion(model="openai/m", messages=QUESTION, api_base=server.url, api_key="none")

    assert parts(only(captured)) == [{"type": "text", "content": "Here"}, BLOB]


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        ({"videos": [{"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}]}, "video"),
        ({"hologram": {"type": "hologram", "data": "AAAA"}}, "other"),
        ({"content": [{"type": "image_url", "image_url": {"url": PNG}}]}, "image"),
        ({"content": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}, "image"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}, "reasoning"),
    ],
)
def test_other_fields_of_a_delta_are_kinds_of_their_own(delta: dict[str, Any], kind: str) -> None:
    generation = relayed(delta)

    assert [found for found, _ in pieces(generation)] == [kind]
    assert has_first_token(generation, after=1)


@pytest.mark.parametrize(
    "delta",
    [
        {"content": None, "annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example"}}]},
        {"content": "", "refusal": None, "obfuscation": "xyz"},
        {"content": None, "reasoning_details": [{"type": "reasoning.encrypted", "data": "AAAA"}]},
    ],
    ids=["annotations", "padding", "encrypted reasoning"],
)
def test_metadata_of_a_text_is_no_token(delta: dict[str, Any]) -> None:
    assert pieces(relayed(delta)) == []


# --- Google -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "piece", "said"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, ("image", 0), BLOB),
        ({"inline_data": {"mime_type": "image/png", "data": "AAAA"}}, ("image", 0), BLOB),
        (
            {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
            ("video", 0),
            {**BLOB, "modality": "video", "mime_type": "video/mp4"},
        ),
        (
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            ("audio", 0),
            {**BLOB, "modality": "audio", "mime_type": "audio/wav"},
        ),
        (
            {"fileData": {"mimeType": "image/png", "fileUri": "https://a.example/b"}},
            ("image", 0),
            {"type": "uri", "modality": "image", "mime_type": "image/png", "uri": "https://a.example/b"},
        ),
        (
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            ("tool_call", 8),
            {
                "type": "tool_call",
                "id": None,
                "name": "code_execution",
                "arguments": {"language": "PYTHON", "code": "print(1)"},
            },
        ),
        (
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "one"}},
            ("tool_result", 3),
            {"type": "tool_call_response", "id": None, "response": {"outcome": "OUTCOME_OK", "output": "one"}},
        ),
        ({"hologram": {"data": "AAAA"}}, ("other", 0), {"type": "hologram"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) and "type" not in value else "",
)
@pytest.mark.parametrize("streamed", [True, False])
def test_parts_of_gemini_are_kinds_of_their_own(
    part: dict[str, Any], piece: tuple[str, int], said: dict[str, Any], streamed: bool
) -> None:
    """Streamed and in plain answers; a stream's first token is the first of them."""
    answer = {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}]}
    if streamed:
        generation = read(gemini.STREAMED, [f"data: {json.dumps(answer)}\n\n".encode()])
        assert pieces(generation) == [piece]
        assert has_first_token(generation, after=0)
        assert parts(generation) == [said]
    else:
        assert parts(answered(gemini.ENDPOINT, answer)) == [said]


def test_marks_on_an_empty_part_are_no_token() -> None:
    part = {"text": "", "thoughtSignature": "AAAA"}
    answer = {"candidates": [{"content": {"role": "model", "parts": [part]}}]}

    assert pieces(read(gemini.STREAMED, [f"data: {json.dumps(answer)}\n\n".encode()])) == []


# --- Anthropic ----------------------------------------------------------------------------


def start(**block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


@pytest.mark.parametrize(
    ("event", "piece", "kind"),
    [
        (start(type="text", text="Hello"), ("text", 5), "text"),
        (start(type="thinking", thinking="hm"), ("reasoning", 2), "reasoning"),
        (start(type="redacted_thinking", data="AAAA"), ("reasoning", 0), "redacted_thinking"),
        (
            start(type="web_search_tool_result", tool_use_id="s1", content=[{"type": "web_search_result", "url": "u"}]),
            ("tool_result", 0),
            "tool_call_response",
        ),
        (start(type="image", source={"type": "base64", "media_type": "image/png", "data": "A"}), ("image", 0), "blob"),
        (start(type="hologram", data="AAAA"), ("other", 0), "hologram"),
    ],
    ids=lambda value: value["content_block"]["type"] if isinstance(value, dict) else "",
)
def test_blocks_that_come_whole_are_told(event: dict[str, Any], piece: tuple[str, int], kind: str) -> None:
    generation = read(anthropic_messages.ENDPOINT, [event, {"type": "content_block_stop", "index": 0}])

    assert pieces(generation) == [piece]
    assert [part["type"] for part in parts(generation)] == [kind]


def test_arguments_that_come_with_a_calls_start_are_told_once() -> None:
    """Anthropic's own stream has an empty object there; a gateway may have all of it, and deltas or none."""
    begun = start(type="tool_use", id="c1", name="look", input={"a": 1})
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'},
    }
    stop = {"type": "content_block_stop", "index": 0}
    said = [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {"a": 1}}]

    assert parts(read(anthropic_messages.ENDPOINT, [begun, stop])) == said
    assert parts(read(anthropic_messages.ENDPOINT, [begun, delta, stop])) == said


# --- Bedrock ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": "AAAA"}}}}, "image"),
        ({"contentBlockIndex": 0, "delta": {"hologram": {"bytes": "AAAA"}}}, "other"),
        ({"contentBlockIndex": 0, "delta": {"toolResult": [{"text": "found"}]}}, "tool_result"),
        ({"contentBlockIndex": 0, "delta": {"reasoningContent": {"redactedContent": "AAAA"}}}, "reasoning"),
    ],
)
def test_deltas_of_converse_are_kinds_of_their_own(event: dict[str, Any], kind: str) -> None:
    pytest.importorskip("botocore", reason="it knows the frames")
    generation = read(bedrock.CONVERSE_STREAM, [frame("contentBlockDelta", **event)])

    assert [found for found, _ in pieces(generation)] == [kind]
    assert has_first_token(generation, after=0)
