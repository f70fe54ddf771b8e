"""Requests to a model of LangChain: model, provider, options, messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import openai_shape

if TYPE_CHECKING:
    from otel_tokenstream.settings import Settings

CHAT, TEXT = "chat", "text_completion"

# LangChain's own names of providers, and the convention's.
_PROVIDERS = {
    "amazon_bedrock": "aws.bedrock",
    "azureopenai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "googlegenerativeai": "gcp.gemini",
    "mistralai": "mistral_ai",
    "vertexai": "gcp.vertex_ai",
}
# Where a model has the address of its server.
_ADDRESSES = (
    *("azure_endpoint", "openai_api_base", "anthropic_api_url", "base_url", "api_base", "endpoint_url"),
    *("endpoint", "server_url"),
)
_DEFAULT_ADDRESSES = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_OPTIONS = (
    *("max_completion_tokens", "max_tokens", "temperature", "top_p", "top_k", "n", "stop", "seed", "modalities"),
    *("frequency_penalty", "presence_penalty", "reasoning_effort", "response_format"),
)
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "HumanMessageChunk": "user"}


def request(
    model: Any, given: Any, options: Mapping[str, Any], *, operation: str, stream: bool, settings: Settings
) -> Request:
    """Return the request; ``given`` is the model's input in any form that LangChain takes."""
    name, provider = model_of(model, options)
    address, port = server_of(model, provider)
    captured = settings.content_on_spans or settings.content_on_events
    return Request(
        operation=operation,
        provider=provider,
        model=name,
        stream=stream,
        server_address=address,
        server_port=port,
        parameters=_parameters(model, options) or {},
        messages=_messages(model, given) if captured else None,
        tools=options.get("tools") if captured else None,
    )


def server_of(model: Any, provider: str) -> tuple[str | None, int | None]:
    """(host, port) of the server that a model asks."""
    return openai_shape.server(_address(model) or _DEFAULT_ADDRESSES.get(provider))


def model_of(model: Any, options: Mapping[str, Any]) -> tuple[str, str]:
    """(name, provider) of a model."""
    known: Mapping[str, Any] = _known(model, options) or {}
    name = options.get("model") or known.get("ls_model_name") or getattr(model, "model_name", None)
    name = name or getattr(model, "model", None) or getattr(model, "model_id", None)
    provider = str(known.get("ls_provider") or "")
    return str(name or ""), _PROVIDERS.get(provider) or openai_shape.provider_name(provider) or "_OTHER"


@guarded
def _known(model: Any, options: Mapping[str, Any]) -> Any:
    own = model._get_ls_params  # noqa: SLF001  # what LangChain's integrations are to tell of a model
    return own(**{name: value for name, value in options.items() if name in ("model", "stop", "temperature")})


@guarded
def _address(model: Any) -> str | None:
    for holder in (model, getattr(model, "root_client", None)):
        for name in _ADDRESSES:
            value = getattr(holder, name, None)
            if value is not None and "//" in str(value):
                return str(value)
    return None


@guarded
def _parameters(model: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    # Every option of a model is an attribute, too; those of models that have none have a default.
    found = {name: options.get(name, getattr(model, name, None)) for name in _OPTIONS}
    reasoning = options.get("reasoning", getattr(model, "reasoning", None))
    if found["reasoning_effort"] is None and isinstance(reasoning, Mapping):
        found["reasoning_effort"] = reasoning.get("effort")
    return openai_shape.parameters(found)


@guarded
def _messages(model: Any, given: Any) -> Any:
    if isinstance(given, list) and given and all(isinstance(each, str) for each in given):
        return given  # the prompts of a completion model
    base = sys.modules["langchain_core.messages"].BaseMessage
    if not (isinstance(given, list) and all(isinstance(each, base) for each in given)):
        given = model._convert_input(given).to_messages()  # noqa: SLF001  # the model's own reading of its input
    return [plain_message(each) for each in given]


def plain_message(message: Any) -> dict[str, Any]:
    """Return a message of LangChain in the shape of OpenAI's chat."""
    kind = str(getattr(message, "type", "") or "")
    role = getattr(message, "role", None) if kind.lower().startswith("chat") else _ROLES.get(kind, kind)
    made: dict[str, Any] = {"role": str(role or "user"), "content": _content(getattr(message, "content", None))}
    if kind.startswith("tool"):
        return {**made, "role": "tool", "tool_call_id": getattr(message, "tool_call_id", None)}
    name = getattr(message, "name", None)
    if name:
        made["name"] = name
    extra = getattr(message, "additional_kwargs", None) or {}
    reasoning = extra.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        made["reasoning_content"] = reasoning
    made["tool_calls"] = [
        {"id": call.get("id"), "function": {"name": call.get("name"), "arguments": _written(call.get("args"))}}
        for call in getattr(message, "tool_calls", None) or ()
    ]
    return made


def _written(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, default=str)


# Blocks that repeat a message's tool calls.
_TOOL_BLOCKS = ("tool_use", "function_call", "tool_call", "tool_call_chunk", "input_json_delta")


def _content(content: Any) -> Any:
    if isinstance(content, str) or not isinstance(content, Sequence):
        return content
    return [_block(block) for block in content if not _is_tool_block(block)]


def _is_tool_block(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") in _TOOL_BLOCKS


def _block(block: Any) -> Any:
    """Return LangChain's own forms of blocks as the others have them."""
    if isinstance(block, Mapping):
        if block.get("type") == "reasoning" and isinstance(block.get("reasoning"), str):
            return {"type": "thinking", "thinking": block["reasoning"]}
        if "base64" in block:
            return {"type": block.get("type"), "data": block["base64"], "media_type": block.get("mime_type")}
    return block
