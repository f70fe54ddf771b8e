"""The APIs of providers as they are on the wire: what a path asks for, and how to read bytes and bodies."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from otel_tokenstream.core.call.chunk_kinds import EMPTY
from otel_tokenstream.patches.litellm.apis import anthropic_messages, bedrock, chat, completions, gemini, responses
from otel_tokenstream.patches.litellm.transport.json_stream import JsonObject
from otel_tokenstream.patches.litellm.transport.sse import SentEvents
from otel_tokenstream.patches.openai_shape import error_word, get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

_MODEL = re.compile(r"/models/([^/:]+)(?::\w+)?$|/model/(.+)/[a-z-]+$")


def endpoint_for(path: str) -> Endpoint | None:
    """Return how to read the API that a URL's path belongs to; None where it asks no model for text."""
    return next((endpoint for pattern, endpoint in _APIS if pattern.search(path)), None)


def arguments_of(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's arguments; some APIs have the model in the path."""
    found, tools = _MODEL.search(path), body.get("toolConfig")
    model = body.get("model") or (unquote(found[1] or found[2]) if found else "")
    return {**body, "model": str(model), "tools": tools.get("tools") if isinstance(tools, dict) else body.get("tools")}


def _over(endpoint: Endpoint) -> Callable[[ModelCall], Reader]:
    """Read the events in bytes as the endpoint reads the objects that the library makes of them."""

    def reader(call: ModelCall) -> Reader:
        events, read_object = SentEvents(JsonObject), endpoint.reader(call)

        def read(read_started: int, arrived: int, chunk: Any) -> None:
            for event in events.feed(chunk):
                if event.error is not None and event.type is None:
                    call.error_type = error_word(get(event.error, "type"), get(event.error, "code"))
                read_object(read_started, arrived, event)
                read_started = 0
                call.response_model = call.response_model or event.model
            if read_started:
                call.chunk(read_started, arrived, EMPTY, 0, None, None)

        return read

    return reader


def _on_the_wire(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, reader=_over(endpoint))


_APIS = tuple(
    (re.compile(pattern), endpoint)
    for pattern, endpoint in (
        (r"/chat/completions$", _on_the_wire(chat.ENDPOINT)),
        (r"/completions$", _on_the_wire(completions.ENDPOINT)),
        (r"/responses$", _on_the_wire(responses.ENDPOINT)),
        (r"/messages$", anthropic_messages.ENDPOINT),
        (r":(?:stream)?[rR]awPredict$", anthropic_messages.ENDPOINT),
        (r":streamGenerateContent$", gemini.STREAMED),
        (r":generateContent$", gemini.ENDPOINT),
        (r"/model/.+/converse$", bedrock.CONVERSE),
        (r"/model/.+/converse-stream$", bedrock.CONVERSE_STREAM),
        (r"/model/.+/invoke$", bedrock.INVOKE),
        (r"/model/.+/invoke-with-response-stream$", bedrock.INVOKE_STREAM),
    )
)
