"""One line where nothing can be seen and nobody would say why."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from opentelemetry import trace

from otel_tokenstream.core.emit import deferred
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_logger = logging.getLogger(__name__)
_said: set[str] = set()

DOCTOR = "`otel-tokenstream doctor` says more."


@guarded
def no_provider(given: TracerProvider | None) -> None:
    """Say it of the first call that nobody records, where that is for want of a provider and not of a sample."""
    if "provider" in _said:
        return
    provider = given or trace.get_tracer_provider()
    if not type(provider).__module__.startswith("opentelemetry.trace"):
        _said.add("provider")
        return
    if _has_sdk():
        why = (
            "no tracer, meter or logger provider is set. Start the program with opentelemetry-instrument or "
            "`otel-tokenstream run`, or set providers before the first call."
        )
    else:
        why = 'the OpenTelemetry SDK is not installed: pip install "otel-tokenstream[otlp]".'
    say("provider", f"Model calls are recorded nowhere: {why} {DOCTOR}")


@guarded
def nothing_instrumented() -> None:
    """Say it of somebody who looked on at live events, of which there were none."""
    say(
        "live",
        "Live events were asked for, and no library is instrumented: call LiteLLMInstrumentor().instrument(), or that "
        f"of the library in use, before the first model call. {DOCTOR}",
    )


@guarded
def no_library() -> None:
    """Say at the program's exit that none of the instrumented libraries was imported."""
    if deferred.none_was_needed():
        say("library", f"Libraries were instrumented, and the program imported none of them. {DOCTOR}")


def say(what: str, text: str) -> None:
    """Log a line once in a process."""
    if what not in _said:
        _said.add(what)
        _logger.warning("%s", text)


def _has_sdk() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False
