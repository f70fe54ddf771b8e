from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any
from unittest import mock

import litellm
import pytest

from otel_tokenstream import correlate, signals
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION
from tests.patches.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
}
TWO = ["openai/m", "openai/n"]
# Each of them makes two calls.
BATCHES: dict[str, Callable[..., Any]] = {
    "batch_completion": lambda **where: litellm.batch_completion("openai/m", [QUESTION, QUESTION], **where),
    "batch_completion_models": lambda **where: litellm.batch_completion_models(models=TWO, messages=QUESTION, **where),
    "batch_completion_models_all_responses": lambda **where: litellm.batch_completion_models_all_responses(
        models=TWO, messages=QUESTION, **where
    ),
    "deployments": lambda **where: litellm.batch_completion_models(
        deployments=[{"model": model, **where} for model in TWO], model_list=TWO, messages=QUESTION
    ),
}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("in_a_loop", [False, True])
async def test_calls_of_a_batch_are_below_their_caller(batch: str, in_a_loop: bool) -> None:
    """litellm makes them on threads of a pool: parent and correlation are the caller's all the same."""
    with capture() as captured, replay(plain=ANSWER) as server:
        where = {"api_base": server.url, "api_key": "none"}

        def ask() -> Any:
            with correlate(conversation_id="c-17"), tracer.start_as_current_span("request"):
                return BATCHES[batch](**where)

        tracer = captured.tracer_provider.get_tracer("program")
        answer = ask() if in_a_loop else await asyncio.to_thread(ask)

    assert answer
    (request,) = (span for span in captured.spans if span.name == "request")
    assert len(captured.generations) == 2
    for generation in captured.generations:
        assert generation.span.parent is not None
        assert generation.span.parent.span_id == request.context.span_id
        assert generation.attributes[signals.CONVERSATION_ID] == "c-17"


def test_streams_of_a_batch_are_below_their_caller(provider: Any) -> None:
    with capture() as captured:
        tracer = captured.tracer_provider.get_tracer("program")
        with tracer.start_as_current_span("request") as request:
            where = {"api_base": provider.base_url, "api_key": "none"}
            for stream in litellm.batch_completion("openai/test", [QUESTION, QUESTION], stream=True, **where):
                list(stream)

    parents = {generation.span.parent and generation.span.parent.span_id for generation in captured.generations}
    assert parents == {request.get_span_context().span_id}


def test_a_program_can_still_put_its_own_function_there() -> None:
    """Tests of programs replace ``litellm.completion``, here and there: it is called, and put back."""
    before, batches = litellm.completion, sys.modules["litellm.batch_completion.main"]
    with capture():
        for place in (litellm, vars(batches)["litellm"]):
            with mock.patch.object(place, "completion", return_value="made up") as made_up:
                assert litellm.batch_completion("openai/m", [QUESTION]) == ["made up"]
            made_up.assert_called_once()
            assert litellm.completion is before

    assert vars(batches)["litellm"] is litellm
