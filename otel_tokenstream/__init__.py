"""See how the streams of language models behave: OpenTelemetry for litellm and DSPy."""

from __future__ import annotations

from otel_tokenstream.core.redaction import Redactor
from otel_tokenstream.core.telemetry import flush
from otel_tokenstream.instrumentors import DSPyInstrumentor, LiteLLMInstrumentor
from otel_tokenstream.settings import SettingError

__all__ = ["DSPyInstrumentor", "LiteLLMInstrumentor", "Redactor", "SettingError", "flush"]
