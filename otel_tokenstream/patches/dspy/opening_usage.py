"""Usage that Anthropic reports at the opening of a stream, which lm15 leaves out.

The frame at the end may repeat the prompt's tokens and need not; a plain answer has all of them.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.context import set_contextvar
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

_COUNTS = {
    "input_tokens": "input_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_write_tokens": "cache_creation_input_tokens",
}

# Of the call in progress, where it is a plain one that is streamed: the parsers of one provider are shared.
_noted: ContextVar[dict[str, Any] | None] = ContextVar("otel_tokenstream_opening_usage", default=None)


def patches() -> Iterator[Patch]:
    yield Patch("dspy._vendor.lm15.providers.anthropic", "AnthropicLM.parse_stream_events", _parse, optional=True)


def capture_opening_usage() -> AbstractContextManager[dict[str, Any]]:
    """Return a context manager around the reading of one stream, which gives what its opening counts."""
    noted: dict[str, Any] = {}
    return set_contextvar(_noted, noted)


def completed(response: Any, noted: dict[str, Any]) -> Any:
    """Return the response with what its usage leaves open and the opening told."""
    usage = response.usage
    missing = {ours: noted[theirs] for ours, theirs in _COUNTS.items() if noted.get(theirs) is not None}
    missing = {name: count for name, count in missing.items() if getattr(usage, name) is None}
    return replace(response, usage=replace(usage, **missing)) if missing else response


def _parse(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def parse_stream_events(self: Any, request: Any, raw_event: Any) -> Any:
        noted = _noted.get()
        if noted is not None and not noted:
            _note(noted, raw_event.data)
        return original.__get__(self)(request, raw_event)

    return parse_stream_events


@guarded
def _note(noted: dict[str, Any], data: str | None) -> None:
    if data and '"message_start"' in data:
        noted.update(json.loads(data)["message"].get("usage") or {})
