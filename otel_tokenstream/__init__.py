"""See how the streams of language models behave: OpenTelemetry for litellm and DSPy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from otel_tokenstream.core.correlation import correlate
from otel_tokenstream.core.redaction import Redactor
from otel_tokenstream.core.telemetry import flush
from otel_tokenstream.fields.streamed import stream_fields
from otel_tokenstream.instrumentors import DSPyInstrumentor, LiteLLMInstrumentor
from otel_tokenstream.settings import SettingError

if TYPE_CHECKING:
    from otel_tokenstream.live.collector import TokenCollector
    from otel_tokenstream.live.consumer import TokenConsumer
    from otel_tokenstream.live.events import TokenEvent
    from otel_tokenstream.live.rabbitmq import RabbitMQSink
    from otel_tokenstream.live.redis import RedisSink
    from otel_tokenstream.live.sink import attach
    from otel_tokenstream.live.steps import step
    from otel_tokenstream.live.subscribers import subscribe, tokens
    from otel_tokenstream.live.terminal import Terminal

__all__ = [
    "DSPyInstrumentor",
    "LiteLLMInstrumentor",
    "RabbitMQSink",
    "Redactor",
    "RedisSink",
    "SettingError",
    "Terminal",
    "TokenCollector",
    "TokenConsumer",
    "TokenEvent",
    "attach",
    "correlate",
    "flush",
    "step",
    "stream_fields",
    "subscribe",
    "tokens",
]

# Loaded when first asked for: every process of a program is instrumented, few look on live.
_LIVE = {
    "RabbitMQSink": "rabbitmq",
    "RedisSink": "redis",
    "Terminal": "terminal",
    "TokenCollector": "collector",
    "TokenConsumer": "consumer",
    "TokenEvent": "events",
    "attach": "sink",
    "step": "steps",
    "subscribe": "subscribers",
    "tokens": "subscribers",
}


def __getattr__(name: str) -> object:
    if name not in _LIVE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found: object = getattr(import_module(f"{__name__}.live.{_LIVE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
