"""Reasoning tokens that a provider counts inside its output or beside it: the total tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.apis import gemini, responses
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, only
from tests.patches.replay import OPENING, chunk, replay

if TYPE_CHECKING:
    from collections.abc import Mapping

# prompt, completion, reasoning, total, and the output with reasoning in it
INSIDE = (686, 123, 112, 809, 123)
BESIDE = (20, 5, 300, 325, 305)
both_counts = pytest.mark.parametrize("counts", [INSIDE, BESIDE], ids=["inside", "beside"])
FIELDS = "[[ ## answer ## ]]\nx\n\n[[ ## completed ## ]]\n"


def reported(counts: tuple[int, ...]) -> dict[str, Any]:
    prompt, completion, reasoning, total, _ = counts
    details = {"completion_tokens_details": {"reasoning_tokens": reasoning}}
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **details}


def output(attributes: Mapping[str, Any]) -> tuple[int, int]:
    return attributes[signals.USAGE_OUTPUT_TOKENS], attributes[signals.USAGE_REASONING]


@both_counts
@pytest.mark.parametrize("model", ["xai/grok-4", "openai/grok-4"])
@pytest.mark.parametrize("streamed", [True, False])
def test_dspys_engine_tells_by_the_total(counts: tuple[int, ...], model: str, streamed: bool) -> None:
    """xAI counts reasoning beside its output, and a gateway in front of it inside, under one provider's name."""
    usage = reported(counts)
    about = {"id": "x", "object": "chat.completion", "created": 1, "model": "grok-4", "usage": usage}
    choice = {"index": 0, "message": {"role": "assistant", "content": FIELDS}, "finish_reason": "stop"}
    events = [chunk({"role": "assistant", "content": FIELDS}), chunk({}, "stop"), chunk(usage=usage)]
    answer = None if streamed else {**about, "choices": [choice]}
    with capture() as captured, replay(*events, plain=answer, gap=0) as server:
        lm = dspy.LM(model, api_base=server.url, api_key="none", cache=False, num_retries=0)
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            program = dspy.Predict("question -> answer")
            if streamed:
                listener = dspy.streaming.StreamListener("answer")
                list(dspy.streamify(program, stream_listeners=[listener], async_streaming=False)(question="?"))
            else:
                program(question="?")

    assert output(only(captured).attributes) == (counts[4], counts[2])


@both_counts
@pytest.mark.parametrize("model", ["xai/grok-4", "openai/grok-4"])
@pytest.mark.parametrize("streamed", [True, False])
def test_litellm_tells_by_the_total(counts: tuple[int, ...], model: str, streamed: bool) -> None:
    usage = reported(counts)
    about = {"id": "x", "object": "chat.completion", "created": 1, "model": "grok-4", "usage": usage}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    events = [OPENING, chunk({"content": "x"}), chunk({}, "stop"), chunk(usage=usage)]
    answer = None if streamed else {**about, "choices": [choice]}
    options = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    with capture() as captured, replay(*events, plain=answer, gap=0) as server:
        where = {"api_base": server.url, "api_key": "none"}
        result = litellm.completion(model=model, messages=QUESTION, **where, **options)
        if streamed:
            list(result)

    assert output(only(captured).attributes) == (counts[4], counts[2])


@both_counts
def test_the_responses_api_tells_by_the_total(counts: tuple[int, ...]) -> None:
    prompt, written, reasoning, total, whole = counts
    usage = {"input_tokens": prompt, "output_tokens": written, "total_tokens": total}
    found = responses._usage({**usage, "output_tokens_details": {"reasoning_tokens": reasoning}})

    assert found is not None
    assert found.output == whole


@both_counts
def test_gemini_tells_by_the_total(counts: tuple[int, ...]) -> None:
    prompt, written, reasoning, total, whole = counts
    usage = {"promptTokenCount": prompt, "candidatesTokenCount": written, "thoughtsTokenCount": reasoning}
    found = gemini._usage({**usage, "totalTokenCount": total})

    assert found is not None
    assert found.output == whole


@pytest.mark.parametrize(
    ("counts", "apart", "whole"),
    [
        ((20, 5, 300, None), True, 305),  # no total: as the provider does
        ((20, 400, 300, None), True, 700),
        ((20, 400, 300, None), False, 400),
        ((20, 5, 300, 25), True, 305),  # more than the output cannot be in it
        ((20, 400, 300, 421), True, 400),  # a total that is nearly right
        ((20, 400, 300, 719), True, 700),
        ((20, 400, 300, 700), False, 400),
        ((20, 0, 300, 320), False, 300),
        ((20, 5, 0, 25), True, 5),
        ((20, 5, None, 25), True, 5),
        ((20, None, None, None), True, None),
    ],
)
def test_the_provider_decides_where_the_total_is_ambiguous(counts: Any, apart: bool, whole: int | None) -> None:
    assert openai_shape.with_reasoning(*counts, apart=apart) == whole
