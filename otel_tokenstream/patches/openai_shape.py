"""The OpenAI chat shape that most libraries speak: request parameters, usage, provider names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_tokenstream import signals
from otel_tokenstream.core.call.request import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

# Well-known values of gen_ai.provider.name where a library's own name differs.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "azure_text": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "bedrock_mantle": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "text-completion-openai": "openai",
    "vertex_ai": "gcp.vertex_ai",
    "vertex_ai_beta": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}

_NAME = re.compile(r"[A-Za-z][\w.:-]{0,63}", re.ASCII)

# Counters add counts up, and one sum that does not fit into 64 bits keeps every metric from being sent.
_NO_COUNT = 1 << 40

# Forms of an answer that a request can name, and the convention's words for them.
_FORMS = {"text": "text", "json_object": "json", "json_schema": "json"}

_NUMBERS: dict[str, tuple[str, type[int | float]]] = {
    signals.REQUEST_TEMPERATURE: ("temperature", float),
    signals.REQUEST_TOP_P: ("top_p", float),
    signals.REQUEST_TOP_K: ("top_k", int),
    signals.REQUEST_SEED: ("seed", int),
    signals.REQUEST_FREQUENCY_PENALTY: ("frequency_penalty", float),
    signals.REQUEST_PRESENCE_PENALTY: ("presence_penalty", float),
}


def provider_name(name: str) -> str:
    return _PROVIDERS.get(name, name)


def parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Span attributes for the request's options; one that has a wrong type is left out."""
    found = {attribute: _number(options.get(option), kind) for attribute, (option, kind) in _NUMBERS.items()}
    longest = options.get("max_completion_tokens") or options.get("max_tokens")
    choices, effort = _number(options.get("n"), int), options.get("reasoning_effort")
    found[signals.REQUEST_MAX_TOKENS] = _number(longest, int)
    found[signals.REQUEST_CHOICE_COUNT] = choices if choices and choices > 1 else None
    found[signals.REQUEST_STOP_SEQUENCES] = _texts(options.get("stop")) or None
    found[signals.REQUEST_REASONING_LEVEL] = effort if isinstance(effort, str) else None
    found[signals.OUTPUT_TYPE] = _output_type(options)
    found[signals.REQUEST_PREVIOUS_RESPONSE_ID] = _text(options.get("previous_response_id"))
    found[signals.PROMPT_NAME], found[signals.PROMPT_VERSION] = _stored_prompt(options)
    found[signals.CONVERSATION_COMPACTED] = options.get("compacted") is True or None
    return {attribute: value for attribute, value in found.items() if value is not None}


def _stored_prompt(options: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return name and version of a prompt that is kept elsewhere: litellm's ``prompt_id``, OpenAI's ``prompt``."""
    stored = options.get("stored_prompt")
    name = _text(options.get("prompt_id")) or _text(get(stored, "id"))
    version = options.get("prompt_version") or get(stored, "version")
    if isinstance(version, int):
        version = str(version)
    return name, _text(version) if name else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object, kind: type[int | float]) -> Any:
    """Return a number as an attribute can have it, None for anything else: nan as an int, more than 64 bits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        return None
    return number if kind is float or -(1 << 63) <= number < 1 << 63 else None


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    # Anything else that can be iterated may be used up by that.
    return [each for each in value if isinstance(each, str)] if isinstance(value, (list, tuple)) else []


def _output_type(options: Mapping[str, Any]) -> str | None:
    wanted = {each.lower() for each in _texts(options.get("modalities"))}
    for modality, kind in (("audio", "speech"), ("image", "image")):
        if modality in wanted:
            return kind
    form = options.get("response_format")
    named = "json_schema" if isinstance(form, type) else get(form, "type")
    return _FORMS.get(named) if isinstance(named, str) else None


def server(url: object) -> tuple[str | None, int | None]:
    """(host, port) of a base URL, the scheme's port where it names none."""
    if not isinstance(url, str) or "//" not in url:
        return None, None
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.hostname, port or {"https": 443, "http": 80}.get(parts.scheme)


def usage(reported: Any, *, estimated: bool = False) -> Usage | None:
    """Token counts of an OpenAI usage object, None where it says nothing: all zero is nothing too."""
    if reported is None:
        return None
    prompt, output = count(reported, "prompt_tokens"), count(reported, "completion_tokens")
    if not prompt and not output:
        return None
    of_prompt = get(reported, "prompt_tokens_details")
    of_output = get(reported, "completion_tokens_details")
    reasoning = count(of_output, "reasoning_tokens")
    return Usage(
        input=prompt,
        output=with_reasoning(prompt, output, reasoning, count(reported, "total_tokens")),
        cache_read=count(of_prompt, "cached_tokens"),
        cache_write=count(of_prompt, "cache_creation_tokens"),
        reasoning=reasoning,
        estimated=estimated,
        input_by=by_modality(of_prompt),
        cache_read_by=by_modality(get(of_prompt, "cached_tokens_details")),
        output_by=by_modality(of_output),
    )


def by_modality(details: Any) -> dict[str, int] | None:
    """Return the counts that a usage object's details give by modality: ``text_tokens`` and so on."""
    counts = {each: tokens for each in signals.MODALITIES if (tokens := count(details, f"{each}_tokens")) is not None}
    # Libraries fill in zeros for parts that the provider never mentioned.
    return {each: tokens for each, tokens in counts.items() if tokens} or None


def with_reasoning(
    prompt: int | None, output: int | None, reasoning: int | None, total: int | None, *, apart: bool = False
) -> int | None:
    """Return the count of the output with reasoning in it, as the convention has it.

    Whether the reported one has it is told by the total. Where that does not tell, ``apart`` says whether
    the provider is one that counts reasoning apart.
    """
    if not reasoning:
        return output
    written = output or 0
    without = (prompt or 0) + written
    if apart:
        # Reasoning that is more than the output cannot be in it, whatever the total.
        added = reasoning > written or total is None or abs(total - without - reasoning) < abs(total - without)
    else:
        added = total == without + reasoning
    return written + reasoning if added else output


def error_word(*said: object) -> str:
    """Return the first of a provider's words for an error that is a name; where none is, it may be a sentence."""
    return next((word for word in said if isinstance(word, str) and _NAME.fullmatch(word)), "_OTHER")


def get(thing: Any, name: str) -> Any:
    """Read a field of an object or a dictionary, None where it has none."""
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def as_text(arguments: object) -> str:
    """Return a tool's arguments as they are written, which some servers send as an object."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, default=str)


def transcript(audio: Any) -> str:
    """Return what is said in a piece of audio."""
    text = get(audio, "transcript")
    return text if isinstance(text, str) else ""


def count(thing: Any, name: str) -> int | None:
    """Read a field that is a count, None where it is none."""
    value = None if thing is None else get(thing, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _NO_COUNT else None
