"""The pass-through routes of litellm's proxy server, which hand on a provider's own API byte for byte.

Nothing of litellm's other functions is called for them. What the client is given is one stream
of bytes in an HTTP response: it ends with the client's going, whatever litellm still does with
the provider's answer for its own accounts.
"""

from __future__ import annotations

import json
from functools import partial, wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_tokenstream.core.call.model_call import ModelCall, now
from otel_tokenstream.core.call.nesting import CallScope
from otel_tokenstream.core.call.request import Attempt, Request
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.lifecycle import begin, hand_over
from otel_tokenstream.patches.litellm.apis import raw_apis
from otel_tokenstream.patches.litellm.outcome.finalize import finalize
from otel_tokenstream.patches.litellm.proxy_identity import caller, of_key
from otel_tokenstream.patches.litellm.target import OTHER
from otel_tokenstream.patches.litellm.transport.json_stream import parsed
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
    from otel_tokenstream.settings import Settings

_ARGUMENTS = ("request", "target", "custom_headers", "user_api_key_dict", "custom_body")


def patches(telemetry: Telemetry) -> list[Patch]:
    def around(original: Any) -> Callable[..., Any]:
        return _passing_through(telemetry, original)

    module = "litellm.proxy.pass_through_endpoints.pass_through_endpoints"
    return [Patch(module, "pass_through_request", around, "litellm", optional=True)]


def _passing_through(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def pass_through_request(*args: Any, **kwargs: Any) -> Any:
        arguments = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
        endpoint = _endpoint(arguments)
        body = None if endpoint is None else await _body(arguments)
        if endpoint is None or body is None:
            return await original(*args, **kwargs)
        with begin(telemetry, partial(_request, telemetry.settings, endpoint, arguments, body)) as call:
            if call is None:
                return await original(*args, **kwargs)
            call.attempted(Attempt(call.request.model, str(arguments.get("custom_llm_provider") or ""), call.started))
            with CallScope(call, owns=False):  # guardrails ask models of their own
                response = await original(*args, **kwargs)
            return _handed_over(endpoint, call, response)

    return pass_through_request


@guarded
def _endpoint(arguments: Mapping[str, Any]) -> Endpoint | None:
    path = urlsplit(str(arguments["target"])).path
    return raw_apis.endpoint_for(path) if arguments["request"].method == "POST" else None


async def _body(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the request's body, which the server has read by now to find out who asks; None if it is no object."""
    try:
        given = arguments.get("custom_body") or json.loads(await arguments["request"].body())
    except Exception:  # noqa: BLE001  # the server refuses it a moment later
        return None
    return given if isinstance(given, dict) else None


def _request(settings: Settings, endpoint: Endpoint, arguments: Mapping[str, Any], body: Mapping[str, Any]) -> Request:
    target = str(arguments["target"])
    provider = str(arguments.get("custom_llm_provider") or "")
    address, port = openai_shape.server(target)
    sent = raw_apis.arguments_of(urlsplit(target).path, body)
    return Request(
        operation=endpoint.operation,
        provider=openai_shape.provider_name(provider) or OTHER,
        model=sent["model"],
        stream=endpoint.streamed(sent) or arguments.get("stream") is True,
        server_address=address,
        server_port=port,
        parameters={
            **(endpoint.parameters(sent) or {}),
            **(guarded(caller)(settings, of_key(arguments.get("user_api_key_dict"))) or {}),
        },
        messages=sent.get(endpoint.prompt),
        system=sent.get("system") or sent.get("instructions") or sent.get("systemInstruction"),
        tools=sent.get("tools"),
    )


def _handed_over(endpoint: Endpoint, call: ModelCall, response: Any) -> Any:
    """Put a proxy around the bytes of a streamed response; read any other one."""
    call.attempts[-1].ended = now()
    status = getattr(response, "status_code", 200)
    if isinstance(status, int) and status >= 400:
        call.error_type = str(status)
    if "body_iterator" in getattr(response, "__dict__", ()):
        response.body_iterator = hand_over(call, response.body_iterator, endpoint.reader, None, finalize, streamed=True)
        return response
    return hand_over(call, response, None, partial(_read_answer, endpoint))


def _read_answer(endpoint: Endpoint, call: ModelCall, response: Any) -> None:
    answer = parsed(getattr(response, "body", None)) if call.error_type is None else None
    if answer is not None:
        endpoint.read_answer(call, answer)
        finalize(call, response)
