"""APIs of language models by the address that a library posts to, for libraries that speak HTTP themselves."""

from __future__ import annotations

from functools import partial, wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_tokenstream.core.call.nesting import CallScope
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.lifecycle import begin, hand_over
from otel_tokenstream.patches.litellm.apis import anthropic_messages, chat, completions, responses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

# In this order: the second is the end of the first.
_BY_PATH = (
    ("/chat/completions", chat.ENDPOINT),
    ("/completions", completions.ENDPOINT),
    ("/responses", responses.ENDPOINT),
    ("/messages", anthropic_messages.ENDPOINT),
)


def api_of(url: str) -> Endpoint | None:
    """Return the API at an address; None where it is no model that generates."""
    path = urlsplit(url).path.rstrip("/")
    return next((api for end, api in _BY_PATH if path.endswith(end)), None)


def parsed(said: Any) -> Any:
    """Return parsed JSON in the form that readers take it: what has choices as objects with attributes.

    The other APIs are read by key too, and what a tool is given in them has to stay a dictionary.
    """
    return _object(said) if isinstance(said, dict) and "choices" in said else said


def _object(said: Any) -> Any:
    if isinstance(said, dict):
        return SimpleNamespace(**{name: _object(value) for name, value in said.items()})
    return [_object(each) for each in said] if isinstance(said, list) else said


def provider_of(name: object) -> str:
    """Return the convention's name for a provider that a library calls ``name``."""
    return openai_shape.provider_name(str(name).lower()) or "_OTHER"


def request_to(api: Endpoint, url: str, provider: str, asked: Mapping[str, Any], *, stream: bool) -> Request:
    """Return the request whose JSON body is ``asked``; ``provider`` is the GenAI convention's name for it."""
    address, port = openai_shape.server(url)
    return Request(
        operation=api.operation,
        provider=provider,
        model=str(asked.get("model") or ""),
        stream=stream,
        server_address=address,
        server_port=port,
        parameters=api.parameters(asked) or {},
        messages=asked.get(api.prompt),
        system=asked.get("system") or asked.get("instructions"),
        tools=asked.get("tools"),
    )


def calling(
    telemetry: Telemetry,
    original: Callable[..., Any],
    api_at: Callable[[Any], Endpoint | None],
    request_of: Callable[..., Request],
    answer: Callable[[Any], Any],
) -> Callable[..., Any]:
    """Wrap an endpoint's method that posts a request and returns the whole answer.

    ``api_at`` finds the API of an endpoint, ``request_of(api, endpoint, request, options, stream=...)`` makes the
    request that is recorded, and ``answer`` takes the provider's JSON out of the result.
    """

    @wraps(original)
    async def call(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        api = guarded(api_at)(self)
        if api is None:
            return await original(self, request, *args, **kwargs)
        with begin(telemetry, partial(request_of, api, self, request, kwargs, stream=False)) as made:
            if made is None:
                return await original(self, request, *args, **kwargs)
            with CallScope(made):
                result = await original(self, request, *args, **kwargs)
            return hand_over(made, result, None, partial(_read_answer, api, answer))

    return call


def _read_answer(api: Endpoint, answer: Callable[[Any], Any], call: ModelCall, result: Any) -> None:
    api.read_answer(call, parsed(answer(result)))
