"""litellm's own OpenTelemetry callback: it writes on the span that is current, and ours has ended by then."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.nesting import is_ours
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def patches() -> Iterator[Patch]:
    place = "litellm.integrations.opentelemetry", "OpenTelemetry._get_span_context"
    yield Patch(*place, _below_ours, "litellm", optional=True)


def _below_ours(original: Any) -> Callable[..., Any]:
    """Let it make a span of its own, below ours, as it does where no span is current."""

    @wraps(original)
    def _get_span_context(self: Any, *args: Any, **kwargs: Any) -> Any:
        context, span = original.__get__(self)(*args, **kwargs)
        return context, None if span is not None and is_ours(span) else span

    return _get_span_context
