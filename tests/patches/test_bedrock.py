from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.patches.litellm.apis import bedrock, raw_apis
from otel_tokenstream.patches.litellm.transport.json_stream import parsed
from tests.core.calls import Ends
from tests.patches.bedrock_provider import event, invoked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.core.call.model_call import ModelCall

pytest.importorskip("botocore", reason="it knows the frames")

METRICS = {
    "amazon-bedrock-invocationMetrics": {
        "inputTokenCount": 7,
        "outputTokenCount": 2,
        "cacheReadInputTokenCount": 3,
        "invocationLatency": 9,
    }
}
# Events of the model's own, each family's in its documented shape: two pieces, a reason, and Bedrock's metrics.
FAMILIES: dict[str, list[dict[str, Any]]] = {
    "Llama": [
        {"generation": "Be", "prompt_token_count": 7, "generation_token_count": 1, "stop_reason": None},
        {"generation": "ans", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": None},
        {"generation": "", "generation_token_count": 2, "stop_reason": "stop", **METRICS},
    ],
    "Titan": [
        {"outputText": "Be", "index": 0, "completionReason": None},
        {"outputText": "ans", "index": 0, "completionReason": "stop", **METRICS},
    ],
    "Mistral": [
        {"outputs": [{"text": "Be", "stop_reason": None}]},
        {"outputs": [{"text": "ans", "stop_reason": "stop"}], **METRICS},
    ],
    "Nova": [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "Be"}, "contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "ans"}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "stop"}},
        {"metadata": {"metrics": {}, "trace": {}}, **METRICS},
    ],
    "OpenAI": [
        {"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Be"}, "finish_reason": None}]},
        {"id": "x", "choices": [{"index": 0, "delta": {"content": "ans"}, "finish_reason": "stop"}], **METRICS},
    ],
    "Anthropic": [
        {"type": "message_start", "message": {"id": "x", "model": "claude"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Be"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ans"}},
        {"type": "message_delta", "delta": {"stop_reason": "stop"}},
        {"type": "message_stop", **METRICS},
    ],
}
ANSWERS: dict[str, dict[str, Any]] = {
    "Llama": {"generation": "Beans", "prompt_token_count": 10, "generation_token_count": 2, "stop_reason": "stop"},
    "Titan": {"inputTextTokenCount": 10, "results": [{"outputText": "Beans", "completionReason": "stop"}]},
    "Mistral": {"outputs": [{"text": "Beans", "stop_reason": "stop"}]},
    "Nova": {
        "output": {"message": {"role": "assistant", "content": [{"text": "Beans"}]}},
        "stopReason": "stop",
        "usage": {"inputTokens": 7, "outputTokens": 2, "cacheReadInputTokens": 3},
    },
    "OpenAI": {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Beans"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
    },
    "Anthropic": {
        "type": "message",
        "content": [{"type": "text", "text": "Beans"}],
        "stop_reason": "stop",
        "usage": {"input_tokens": 7, "output_tokens": 2, "cache_read_input_tokens": 3},
    },
}


@pytest.fixture
def call() -> Iterator[ModelCall]:
    started = Ends().call()
    yield started
    started.end("completed")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_familys_events_are_read(call: ModelCall, family: str) -> None:
    """Text and reason in the model's own shape, counts from Bedrock's own metrics."""
    read = bedrock.INVOKE_STREAM.reader(call)
    for at, own in enumerate(FAMILIES[family], 1):
        read(at, at, invoked(json.dumps(own).encode()))
    call.end("completed")

    assert call.finish_reasons == {0: "stop"}
    assert call.usage == Usage(10, 2, cache_read=3)
    assert call.timeline.chunks == len(FAMILIES[family])
    assert sum(event.chars for event in call.timeline.events) == len("Beans")


@pytest.mark.parametrize("family", ANSWERS)
def test_each_familys_answer_is_read(call: ModelCall, family: str) -> None:
    """Titan and Mistral say how much they used in headers alone, which nobody reads."""
    bedrock.INVOKE.read_answer(call, parsed(json.dumps(ANSWERS[family]).encode()))

    assert call.finish_reasons == {0: "stop"}
    if family not in ("Titan", "Mistral"):
        assert call.usage is not None
        assert (call.usage.input, call.usage.output) == (10, 2)


@pytest.mark.parametrize("chunk", [event("chunk"), event("chunk", bytes="?"), invoked(b"[1]"), invoked(b"{}"), b"", 7])
def test_a_chunk_without_content_is_empty(call: ModelCall, chunk: Any) -> None:
    """No bytes, none in base64, no object, an object of an unknown shape."""
    bedrock.INVOKE_STREAM.reader(call)(1, 2, chunk)
    bedrock.CONVERSE_STREAM.reader(call)(3, 4, chunk)
    call.end("completed")

    assert call.timeline.chunks == 2
    assert call.usage is None
    assert call.error_type is None


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/model/anthropic.claude-v2%3A1/invoke", "anthropic.claude-v2:1"),
        ("/model/a/b/c/converse-stream", "a/b/c"),
        (
            "/base/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fx/converse",
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/x",
        ),
    ],
)
def test_the_model_is_in_the_path(path: str, model: str) -> None:
    """Encoded or not, with slashes or without."""
    assert raw_apis.arguments_of(path, {})["model"] == model


@pytest.mark.parametrize(
    ("path", "streamed"),
    [
        ("/model/x/converse", False),
        ("/model/x/converse-stream", True),
        ("/model/x/invoke", False),
        ("/model/x/invoke-with-response-stream", True),
    ],
)
def test_the_path_says_whether_it_is_streamed(path: str, streamed: bool) -> None:
    """The body does not."""
    entry = raw_apis.endpoint_for(path)

    assert entry is not None
    assert entry.streamed({}) is streamed


@pytest.mark.parametrize("path", ["/model/x/count-tokens", "/model/x/async-invoke", "/guardrail/x/version/1/apply"])
def test_requests_for_no_text_are_no_generation(path: str) -> None:
    """Bedrock has other calls on the same host."""
    assert raw_apis.endpoint_for(path) is None
