"""Whether a plain model call of DSPy is to be made as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_tokenstream.core.guard import guarded
from otel_tokenstream.fields import streamed
from otel_tokenstream.patches.dspy import runs

if TYPE_CHECKING:
    from otel_tokenstream.core.telemetry import Telemetry


@guarded
def told_fields(telemetry: Telemetry) -> frozenset[str] | None:
    """Return the fields whose tokens are to be told; None where the call is to be made as it is."""
    if runs.are_quiet() or not telemetry.enabled or not is_instrumentation_enabled():
        return None
    return streamed.wanted(telemetry.settings.dspy_stream)
