"""Words in a model's name that only tell litellm which way to ask: the provider is not sent them.

As litellm 1.110 has them; the place in its source is named with each.
"""

from __future__ import annotations

import re

# bridge_check.py and responses/main.py: to the Responses API, or away from it, whoever is asked.
_OF_ALL = ("responses", "chat_completions")

# llms/bedrock/common_utils.py (get_bedrock_route) and base_aws_llm.py (get_bedrock_model_id): the API, or
# the shape that an imported model speaks.
_BEDROCK = (
    *("bedrock", "converse", "converse_like", "invoke", "async_invoke", "agent", "agentcore", "claude_platform"),
    *("mantle", "openai", "nova", "nova-2", "llama", "deepseek_r1", "qwen2", "qwen3", "stability", "moonshot"),
)

_OF_PROVIDER: dict[str, tuple[str, ...]] = {
    "bedrock": _BEDROCK,
    "bedrock_converse": _BEDROCK,
    "bedrock_mantle": (),
    # llms/azure/chat/o_series_transformation.py and gpt_reasoning_transformation.py
    "azure": ("o_series", "gpt5_series"),
    # llms/azure_ai/common_utils.py
    "azure_ai": ("agents", "model_router", "model-router", "o_series", "gpt5_series"),
    # VertexAIModelRoute of llms/vertex_ai/common_utils.py; openai is a publisher there too, see below
    **dict.fromkeys(
        ("vertex_ai", "vertex_ai_beta"),
        ("agent_engine", "bge", "gemini", "gemma", "model_garden", "non_gemini", "partner_models"),
    ),
    # main.py and llms/cohere/common_utils.py
    **dict.fromkeys(("cohere", "cohere_chat"), ("v1", "v2")),
    # llms/replicate/chat/transformation.py
    "replicate": ("deployments",),
    # llms/watsonx/common_utils.py
    **dict.fromkeys(("watsonx", "watsonx_text"), ("deployment",)),
}

# Bedrock's models may be asked for in a region, and with a commitment that only prices name.
_PLACE = re.compile(r"[a-z]{2}(-[a-z]+)+-\d|\d+-month-commitment")
_WITH_PLACES = ("bedrock", "bedrock_converse", "bedrock_mantle")


def without_route(provider: str, model: str) -> str:
    """Return a model's name without the words before it that are litellm's; ``provider`` is litellm's name for it."""
    word, slash, rest = model.partition("/")
    while slash and rest and _is_route(provider, word, rest):
        model = rest
        word, slash, rest = model.partition("/")
    return model


def _is_route(provider: str, word: str, rest: str) -> bool:
    if word in _OF_ALL or word in _OF_PROVIDER.get(provider, ()):
        return True
    if provider in _WITH_PLACES:
        return _PLACE.fullmatch(word) is not None
    if provider == "huggingface":  # who serves a model stands before its owner
        return rest.count("/") == 1
    return provider.startswith("vertex_ai") and word == "openai" and rest.isdigit()  # the number of an endpoint
