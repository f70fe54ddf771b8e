"""The APIs of providers as they are on the wire: what a path asks for, and how to read bytes and bodies."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from otel_tokenstream.core.timeline import EMPTY
from otel_tokenstream.patches.litellm import bedrock, chat, google, messages, responses, text
from otel_tokenstream.patches.litellm.json_object import JsonObject
from otel_tokenstream.patches.litellm.sent_events import SentEvents
from otel_tokenstream.patches.openai_shape import error_word, get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader
    from otel_tokenstream.patches.litellm.entry import Entry

_MODEL = re.compile(r"/models/([^/:]+)(?::\w+)?$|/model/(.+)/[a-z-]+$")


def entry_for(path: str) -> Entry | None:
    """Return how to read the API that a URL's path belongs to; None where it asks no model for text."""
    return next((entry for pattern, entry in _APIS if pattern.search(path)), None)


def asked_for(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request's arguments; some APIs have the model in the path."""
    found, tools = _MODEL.search(path), body.get("toolConfig")
    model = body.get("model") or (unquote(found[1] or found[2]) if found else "")
    return {**body, "model": str(model), "tools": tools.get("tools") if isinstance(tools, dict) else body.get("tools")}


def _over(entry: Entry) -> Callable[[Generation], Reader]:
    """Read the events in bytes as the entry reads the objects that the library makes of them."""

    def reader(call: Generation) -> Reader:
        events, read_object = SentEvents(JsonObject), entry.reader(call)

        def read(asked: int, arrived: int, chunk: Any) -> None:
            for event in events.feed(chunk):
                if event.error is not None and event.type is None:
                    call.error_type = error_word(get(event.error, "type"), get(event.error, "code"))
                read_object(asked, arrived, event)
                asked = 0
                call.response_model = call.response_model or event.model
            if asked:
                call.chunk(asked, arrived, EMPTY, 0, None, None)

        return read

    return reader


def _on_the_wire(entry: Entry) -> Entry:
    return replace(entry, reader=_over(entry))


_APIS = tuple(
    (re.compile(pattern), entry)
    for pattern, entry in (
        (r"/chat/completions$", _on_the_wire(chat.ENTRY)),
        (r"/completions$", _on_the_wire(text.ENTRY)),
        (r"/responses$", _on_the_wire(responses.ENTRY)),
        (r"/messages$", messages.ENTRY),
        (r":(?:stream)?[rR]awPredict$", messages.ENTRY),
        (r":streamGenerateContent$", google.STREAMED),
        (r":generateContent$", google.ENTRY),
        (r"/model/.+/converse$", bedrock.CONVERSE),
        (r"/model/.+/converse-stream$", bedrock.CONVERSE_STREAM),
        (r"/model/.+/invoke$", bedrock.INVOKE),
        (r"/model/.+/invoke-with-response-stream$", bedrock.INVOKE_STREAM),
    )
)
