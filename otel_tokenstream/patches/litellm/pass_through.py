"""The pass-through routes of litellm's proxy server, which hand on a provider's own API byte for byte.

Nothing of litellm's other functions is called for them. What the client is given is one stream
of bytes in an HTTP response: it ends with the client's going, whatever litellm still does with
the provider's answer for its own accounts.
"""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.context import attach

from otel_tokenstream.core import streams
from otel_tokenstream.core.current import leave
from otel_tokenstream.core.generation import COMPLETED, Attempt, Generation, Request, now
from otel_tokenstream.core.guard import fault, guarded
from otel_tokenstream.core.streams import outcome_of
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm import wire
from otel_tokenstream.patches.litellm.ending import settle
from otel_tokenstream.patches.litellm.json_object import parsed
from otel_tokenstream.patches.litellm.proxy_caller import caller, of_key
from otel_tokenstream.patches.litellm.target import OTHER
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.entry import Entry

_ARGUMENTS = ("request", "target", "custom_headers", "user_api_key_dict", "custom_body")


def patches(telemetry: Telemetry) -> list[Patch]:
    def around(original: Any) -> Callable[..., Any]:
        return _passing_through(telemetry, original)

    module = "litellm.proxy.pass_through_endpoints.pass_through_endpoints"
    return [Patch(module, "pass_through_request", around, "litellm", optional=True)]


def _passing_through(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def pass_through_request(*args: Any, **kwargs: Any) -> Any:
        asked = {**dict(zip(_ARGUMENTS, args, strict=False)), **kwargs}
        entry = _entry(asked)
        body = None if entry is None else await _body(asked)
        call = None if entry is None or body is None else _start(telemetry, entry, asked, body)
        if entry is None or call is None:
            return await original(*args, **kwargs)
        # Current, but not the owner of what is called inside: guardrails ask models of their own.
        token = attach(call.context)
        try:
            response = await original(*args, **kwargs)
        except BaseException as error:
            leave(call.context, token, type(error))
            call.end(outcome_of(error), error)
            raise
        leave(call.context, token, None)
        _handed_over(entry, call, response)
        return response

    return pass_through_request


@guarded
def _entry(asked: Mapping[str, Any]) -> Entry | None:
    return wire.entry_for(urlsplit(str(asked["target"])).path) if asked["request"].method == "POST" else None


async def _body(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the request's body, which the server has read by now to find out who asks; None if it is no object."""
    try:
        given = asked.get("custom_body") or json.loads(await asked["request"].body())
    except Exception:  # noqa: BLE001  # the server refuses it a moment later
        return None
    return given if isinstance(given, dict) else None


@guarded
def _start(telemetry: Telemetry, entry: Entry, asked: Mapping[str, Any], body: Mapping[str, Any]) -> Generation | None:
    target = str(asked["target"])
    arguments = wire.asked_for(urlsplit(target).path, body)
    provider = str(asked.get("custom_llm_provider") or "")
    address, port = openai_shape.server(target)
    request = Request(
        operation=entry.operation,
        provider=openai_shape.provider_name(provider) or OTHER,
        model=arguments["model"],
        stream=entry.streamed(arguments) or asked.get("stream") is True,
        server_address=address,
        server_port=port,
        parameters={
            **(entry.parameters(arguments) or {}),
            **(guarded(caller)(telemetry.settings, of_key(asked.get("user_api_key_dict"))) or {}),
        },
        messages=arguments.get(entry.prompt),
        system=arguments.get("system") or arguments.get("instructions") or arguments.get("systemInstruction"),
        tools=arguments.get("tools"),
    )
    call = telemetry.start(request)
    if call is not None:
        call.attempted(Attempt(request.model, provider, call.started))
    return call


def _handed_over(entry: Entry, call: Generation, response: Any) -> None:
    """Put a proxy around the bytes of a streamed response; read any other one."""
    call.asked = 0
    call.attempts[-1].ended = now()
    try:
        status = getattr(response, "status_code", 200)
        if status >= 400:
            call.error_type = str(status)
        if hasattr(response, "body_iterator"):
            read = entry.reader(call) if call.observed else None
            close = (lambda stream: settle(call, stream)) if call.observed else None
            response.body_iterator = streams.proxy(response.body_iterator, call, read, close)
            return
        answer = parsed(getattr(response, "body", None)) if call.observed and status < 400 else None
        if answer is not None:
            entry.read_answer(call, answer)
            settle(call, response)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("a pass-through response", problem)
    call.end(COMPLETED)
