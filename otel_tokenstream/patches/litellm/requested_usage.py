"""Asking for usage on the program's behalf, and keeping from the program what it did not ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.streams import filtered
from otel_tokenstream.patches import openai_shape

if TYPE_CHECKING:
    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.patches.litellm.entry import Entry
    from otel_tokenstream.settings import Settings

_NOT_ADDED: Any = object()


def add(settings: Settings, entry: Entry, call: Generation, kwargs: dict[str, Any]) -> Any:
    """Ask for usage where the setting wants it and the program did not; return what ``hide`` needs to know."""
    if not (settings.request_usage and entry.usage_on_request and call.request.stream and call.observed):
        return _NOT_ADDED
    given = kwargs.get("stream_options")
    if given is not None and (not isinstance(given, dict) or given.get("include_usage") is not None):
        return _NOT_ADDED
    kwargs["stream_options"] = {**(given or {}), "include_usage": True}
    return given


@guarded
def hide(given: Any, proxy: Any, stream: Any, call: Generation) -> None:
    """Make a stream behave as with the options the program gave.

    The request is made by now: what litellm's streams add to it themselves depends on their
    copies of the options. Old versions then lose the usage, and a text completion may make
    the inner one of its two streams later: there the chunk that is added is left out. It
    follows the finish reason and is empty.
    """
    if given is _NOT_ADDED:
        return
    inner = call.source
    if hasattr(inner, "_record_usage_only_chunk"):
        inner.send_stream_usage = False
        inner.stream_options = given
    if stream is not inner and hasattr(stream, "stream_options"):
        stream.stream_options = given
    if call.request.operation == "text_completion" or not hasattr(inner, "_record_usage_only_chunk"):
        filtered(proxy, lambda chunk: _is_added(call, chunk) is True)


@guarded
def _is_added(call: Generation, chunk: Any) -> bool:
    if not call.finish_reasons:
        return False
    for choice in chunk.choices:
        content = getattr(choice, "text", None) or getattr(getattr(choice, "delta", None), "content", None)
        if choice.finish_reason or content:
            return False
    call.usage = openai_shape.usage(getattr(chunk, "usage", None)) or call.usage
    return True
