"""``llm_passthrough_route``, sync and async: a provider's own API, which litellm hands on byte for byte.

The pass-through routes of its proxy server call these for models of its router and for Bedrock.
The endpoint says which API is spoken.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, partial, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.litellm.apis import chat, raw_apis
from otel_tokenstream.patches.litellm.hooks import calls
from otel_tokenstream.patches.litellm.transport.json_stream import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

NAMES = ("llm_passthrough_route", "allm_passthrough_route")

# Its attempts have litellm's own arguments, of whatever API.
ATTEMPTED = chat.ENDPOINT

# Arguments of litellm that the request's body, which is the client's, must not stand for.
_OF_LITELLM = (
    "model",
    "custom_llm_provider",
    "api_base",
    "base_url",
    "aws_bedrock_runtime_endpoint",
    "metadata",
    "litellm_metadata",
)


def calling(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    """Record each call that asks a model for text."""

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        endpoint = endpoint_of(kwargs)
        function = original if endpoint is None else calls.calling(telemetry, endpoint, original)
        return function(*args, **kwargs)

    return call


def acalling(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same around a coroutine function."""

    @wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        endpoint = endpoint_of(kwargs)
        function = original if endpoint is None else calls.acalling(telemetry, endpoint, original)
        return await function(*args, **kwargs)

    return call


@guarded
def endpoint_of(kwargs: Mapping[str, Any]) -> Endpoint | None:
    """Return how to read what a call asks for; None where that is no text of a model."""
    path = _path(kwargs)
    endpoint = raw_apis.endpoint_for(path) if str(kwargs.get("method")).upper() == "POST" else None
    return None if endpoint is None else _relayed(endpoint)


def _path(kwargs: Mapping[str, Any]) -> str:
    return urlsplit("/" + str(kwargs.get("endpoint") or "").lstrip("/")).path


@cache
def _relayed(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, within=_request, read_answer=partial(_read_answer, endpoint), usage_on_request=False)


def _request(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**raw_apis.arguments_of(_path(kwargs), _body(kwargs)), **{name: kwargs.get(name) for name in _OF_LITELLM}}


def _body(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("data", "json"):
        given = kwargs.get(name)
        if isinstance(given, dict):
            return given
    try:
        read = json.loads(kwargs.get("content") or "{}")
    except (TypeError, ValueError):  # bytes that come bit by bit, or no JSON
        return {}
    return read if isinstance(read, dict) else {}


def _read_answer(endpoint: Endpoint, call: ModelCall, response: Any) -> None:
    answer = parsed(getattr(response, "content", None))
    if answer is not None:
        endpoint.read_answer(call, answer)
