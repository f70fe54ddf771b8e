"""Asking for usage on the program's behalf, and keeping from the program what it did not ask for."""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.streams import filtered

if TYPE_CHECKING:
    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.patches.litellm.entry import Entry
    from otel_tokenstream.settings import Settings

_logger = logging.getLogger(__name__)

_NOT_ADDED: Any = object()


def add(settings: Settings, entry: Entry, call: Generation, kwargs: dict[str, Any]) -> Any:
    """Ask for usage where the setting wants it and the program did not; return what ``hide`` needs to know."""
    if not (settings.request_usage and entry.usage_on_request and call.request.stream and call.observed):
        return _NOT_ADDED
    given = kwargs.get("stream_options")
    if given is not None and (not isinstance(given, dict) or given.get("include_usage") is not None):
        return _NOT_ADDED
    if not _can_hide():
        return _NOT_ADDED
    kwargs["stream_options"] = {**(given or {}), "include_usage": True}
    return given


@cache
def _can_hide() -> bool:
    """Whether this litellm keeps usage from a program that did not ask for it; old ones lose it or show it."""
    able = hasattr(sys.modules["litellm"].CustomStreamWrapper, "_record_usage_only_chunk")
    if not able:
        _logger.warning(
            "otel-tokenstream: OTEL_TOKENSTREAM_REQUEST_USAGE has no effect with this version of litellm, "
            "which would show the program chunks it did not ask for. Update litellm to use it."
        )
    return able


@guarded
def hide(given: Any, proxy: Any, stream: Any, call: Generation) -> None:
    """Make a stream behave as with the options the program gave.

    The request is made by now: what litellm's streams add to it themselves depends on their
    copies of the options. A text completion may make the inner one of its two later: there
    the chunk that is added is left out, which follows the finish reason and is empty.
    """
    if given is _NOT_ADDED:
        return
    for each in (stream, call.source):
        if hasattr(each, "stream_options"):
            each.stream_options = given
        if hasattr(each, "send_stream_usage"):
            each.send_stream_usage = False
    if call.request.operation == "text_completion":
        filtered(proxy, lambda chunk: bool(call.finish_reasons) and _is_empty(chunk) is True)


@guarded
def _is_empty(chunk: Any) -> bool:
    return not any(choice.text or choice.finish_reason for choice in chunk.choices)
