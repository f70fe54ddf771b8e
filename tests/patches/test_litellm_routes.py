from __future__ import annotations

import json

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.patches.litellm.target import target
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, drained, only
from tests.patches.replay import completed, created, event, replay

CLAUDE = "anthropic.claude-3-5-sonnet-20240620-v1:0"
IMPORTED = "arn:aws:bedrock:us-east-1:123456789012:imported-model/r4c4kewx2s0n"
RUNTIME = "arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/x"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"

MODELS = {
    f"bedrock/{CLAUDE}": CLAUDE,
    **{f"bedrock/{route}/{CLAUDE}": CLAUDE for route in ("converse", "invoke", "converse_like", "mantle", "us-west-2")},
    f"bedrock/converse/us-gov-west-1/{CLAUDE}": CLAUDE,
    f"bedrock/us-west-2/1-month-commitment/{CLAUDE}": CLAUDE,
    f"bedrock/invoke/us.{CLAUDE}": f"us.{CLAUDE}",
    f"bedrock/{PROFILE}": PROFILE,
    f"bedrock/converse/{PROFILE}": PROFILE,
    **{f"bedrock/{shape}/{IMPORTED}": IMPORTED for shape in ("llama", "deepseek_r1", "qwen3", "nova", "openai")},
    "bedrock/agent/AGENT/ALIAS": "AGENT/ALIAS",
    f"bedrock/agentcore/{RUNTIME}": RUNTIME,
    "openai/gpt-4o": "gpt-4o",
    "openai/responses/gpt-4o": "gpt-4o",
    "openai/chat_completions/gpt-4o": "gpt-4o",
    "xai/responses/grok-4": "grok-4",
    "azure/responses/mine": "mine",
    "azure/o_series/mine": "mine",
    "azure/gpt5_series/mine": "mine",
    "azure_ai/agents/asst_1": "asst_1",
    "azure_ai/model_router/gpt-4o": "gpt-4o",
    "vertex_ai/gemini/123": "123",
    "vertex_ai/openai/123": "123",
    "cohere_chat/v2/command-r": "command-r",
    "huggingface/together/deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-R1",
    # Owners are part of a model's name.
    "vertex_ai/openai/gpt-oss-120b-maas": "openai/gpt-oss-120b-maas",
    "vertex_ai/meta/llama-4-maverick": "meta/llama-4-maverick",
    "groq/openai/gpt-oss-20b": "openai/gpt-oss-20b",
    "openrouter/anthropic/claude-3.5-sonnet": "anthropic/claude-3.5-sonnet",
    "together_ai/openai/gpt-oss-120b": "openai/gpt-oss-120b",
    "fireworks_ai/accounts/fireworks/models/llama": "accounts/fireworks/models/llama",
}


@pytest.mark.parametrize("model", MODELS)
def test_a_models_name_is_the_providers(model: str) -> None:
    """Without the words that only tell litellm how and where to ask."""
    found = target({"model": model})

    assert found.model == MODELS[model]
    assert found.provider == model.partition("/")[0]


@pytest.mark.parametrize("model", ["github_copilot/responses/gpt-5", "chatgpt/gpt-5"])
def test_no_login_is_begun_to_find_a_models_name(model: str, capfd: pytest.CaptureFixture[str]) -> None:
    """litellm would open a dialogue with the user, and again for the call itself."""
    assert target({"model": model}).model == "gpt-5"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["completion", "acompletion", "responses", "aresponses"])
async def test_span_attributes_and_metrics_have_no_route(name: str) -> None:
    """What is asked by ``openai/responses/gpt-4o`` is told as gpt-4o, whichever way it is asked."""
    pytest.importorskip("mcp", reason="litellm's responses import it")
    text = event("output_text.delta", output_index=0, content_index=0, item_id="m1", delta="Hi", logprobs=[])
    prompt = {"input": "?"} if "responses" in name else {"messages": QUESTION}
    with capture() as captured, replay(created(), text, completed(), gap=0) as server:
        where = {"api_base": server.url, "api_key": "none", "stream": True}
        await drained(getattr(litellm, name), model="openai/responses/gpt-4o", **prompt, **where)

    generation = only(captured)
    assert generation.name == "chat gpt-4o"
    assert generation.attributes[signals.REQUEST_MODEL] == "gpt-4o"
    assert generation.attributes.get(signals.RESPONSE_MODEL, "gpt-4o") == "gpt-4o"
    assert server.requests[0][1]["model"] == "gpt-4o"
    models = {point.attributes.get(signals.REQUEST_MODEL) for point in captured.metrics[signals.OPERATION_DURATION]}
    assert models == {"gpt-4o"}


def test_converse_is_no_part_of_the_answers_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the provider names no model, litellm puts the requested one there, with its route."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "none")
    pytest.importorskip("botocore", reason="litellm signs requests with it")
    message = {"role": "assistant", "content": [{"text": "Hi"}]}
    answer = {"output": {"message": message}, "stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1}}
    with capture() as captured, replay(plain=answer) as server:
        litellm.completion(
            model=f"bedrock/converse/{CLAUDE}",
            messages=QUESTION,
            aws_bedrock_runtime_endpoint=server.url,
            aws_region_name="us-east-1",
        )

    about = only(captured).attributes
    assert only(captured).name == f"chat {CLAUDE}"
    assert about.get(signals.RESPONSE_MODEL) is None
    assert about[signals.COST_USD] > 0
    assert "converse" not in json.dumps(dict(about), default=str)


def test_chunks_and_prices_of_a_region_are_found() -> None:
    """The route is kept for litellm's table of prices, which has some models by region."""
    found = target({"model": "bedrock/us-west-2/anthropic.claude-v2:1"})

    assert (found.model, found.routed) == ("anthropic.claude-v2:1", "us-west-2/anthropic.claude-v2:1")
