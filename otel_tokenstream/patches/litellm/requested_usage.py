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


def add(settings: Settings, entry: Entry, call: Generation, kwargs: dict[str, Any]) -> bool:
    """Ask for usage where the setting wants it and the program did not; say whether that was done."""
    if not (settings.request_usage and entry.usage_on_request and call.request.stream and call.observed):
        return False
    asked = kwargs.get("stream_options")
    if asked is not None and (not isinstance(asked, dict) or asked.get("include_usage") is not None):
        return False
    kwargs["stream_options"] = {**(asked or {}), "include_usage": True}
    return True


def swallow(proxy: Any, call: Generation) -> None:
    """Leave the chunk that litellm adds for the usage out of a stream."""
    last: Any = None

    @guarded
    def is_extra(chunk: Any) -> bool:
        nonlocal last
        usage = getattr(chunk, "usage", None)
        if usage is None or not call.finish_reasons or not _is_empty(chunk):
            last = chunk
            return False
        call.usage = openai_shape.usage(usage)
        hidden = getattr(last, "_hidden_params", None)
        if isinstance(hidden, dict):
            # Where nobody asks, litellm leaves the usage here.
            hidden["usage"] = usage
        return True

    filtered(proxy, lambda chunk: is_extra(chunk) is True)


def _is_empty(chunk: Any) -> bool:
    for choice in getattr(chunk, "choices", None) or ():
        delta = getattr(choice, "delta", None)
        if getattr(choice, "finish_reason", None) or getattr(choice, "text", None) or getattr(delta, "content", None):
            return False
    return True
