"""Asking for usage on the program's behalf, and keeping from the program what it did not ask for."""

from __future__ import annotations

import logging
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.core.call.stream_proxy import filtered
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import openai_shape

if TYPE_CHECKING:
    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
    from otel_tokenstream.settings import Settings

_logger = logging.getLogger(__name__)


class Added(NamedTuple):
    """The options that the program gave, for ``hide``."""

    given: dict[str, Any] | None


@guarded
def add(
    settings: Settings, endpoint: Endpoint, call: ModelCall, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Added | None:
    """Ask for usage where the setting wants it and the program did not; return None where nothing was added."""
    if not (settings.request_usage and endpoint.usage_on_request and call.request.stream and call.observed):
        return None
    if "stream_options" in endpoint.arguments[: len(args)]:  # given by position, be it None
        return None
    given = kwargs.get("stream_options")
    if given is not None and (not isinstance(given, dict) or given.get("include_usage") is not None):
        return None
    if not _can_hide():
        return None
    kwargs["stream_options"] = {**(given or {}), "include_usage": True}
    return Added(given)


@cache
def _can_hide() -> bool:
    """Return whether this litellm keeps usage from a program that did not ask for it; old ones lose it or show it."""
    able = hasattr(sys.modules["litellm"].CustomStreamWrapper, "_record_usage_only_chunk")
    if not able:
        _logger.warning(
            "otel-tokenstream: OTEL_TOKENSTREAM_REQUEST_USAGE has no effect with this version of litellm, "
            "which would show the program chunks it did not ask for. Update litellm to use it."
        )
    return able


@guarded
def hide(added: Added | None, proxy: Any, streams: tuple[Any, ...], call: ModelCall) -> None:
    """Make a stream behave as with the options the program gave.

    The request is made by now: what litellm's streams add to it themselves depends on their
    copies of the options. A text completion may make the inner one of its two later: there
    the chunk that is added is left out, which follows the finish reason and is empty.
    """
    if added is None:
        return
    for each in streams:
        if hasattr(each, "stream_options"):
            each.stream_options = added.given
        if hasattr(each, "send_stream_usage"):
            each.send_stream_usage = False
    if not any(hasattr(each, "stream_options") or hasattr(each, "send_stream_usage") for each in streams):
        # litellm's native code made it: what was asked for comes last, in a chunk of its own.
        filtered(proxy, lambda chunk: _took_usage(call, chunk) is True)
    if call.request.operation == "text_completion":
        filtered(proxy, lambda chunk: bool(call.finish_reasons) and _is_empty(chunk) is True)


@guarded
def _is_empty(chunk: Any) -> bool:
    return not any(choice.text or choice.finish_reason for choice in chunk.choices)


@guarded
def _took_usage(call: ModelCall, chunk: Any) -> bool:
    """Take the counts of a chunk that brings nothing else."""
    reported = None if chunk.choices else openai_shape.usage(getattr(chunk, "usage", None))
    call.usage = reported or call.usage
    return reported is not None
