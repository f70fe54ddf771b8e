"""See how the streams of language models behave: OpenTelemetry for litellm and DSPy."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otel_tokenstream.core.content.correlation import correlate
    from otel_tokenstream.core.content.redaction import Redactor
    from otel_tokenstream.core.emit.telemetry import flush
    from otel_tokenstream.core.runtime.version import __version__
    from otel_tokenstream.fields.streamed import stream_fields
    from otel_tokenstream.instrument_options import InstrumentOptions
    from otel_tokenstream.instrumentors import (
        AnthropicInstrumentor,
        DSPyInstrumentor,
        LangChainInstrumentor,
        LionAGIInstrumentor,
        LionprideInstrumentor,
        LiteLLMInstrumentor,
        OpenAIInstrumentor,
    )
    from otel_tokenstream.live.broker_sink import BrokerSink
    from otel_tokenstream.live.collector import TokenCollector
    from otel_tokenstream.live.consumer import TokenConsumer
    from otel_tokenstream.live.events import (
        EndEvent,
        Event,
        StallEvent,
        StartEvent,
        StepEnd,
        StepEvent,
        StepNote,
        StepStart,
        TokenEvent,
    )
    from otel_tokenstream.live.from_settings import OutletError
    from otel_tokenstream.live.rabbitmq import RabbitMQSink
    from otel_tokenstream.live.rebuilding import StreamText
    from otel_tokenstream.live.redis import RedisSink
    from otel_tokenstream.live.sink import Attachment, Sink, attach
    from otel_tokenstream.live.steps import step
    from otel_tokenstream.live.subscribers import AsyncSubscription, Tokens, subscribe, tokens
    from otel_tokenstream.live.terminal import Terminal
    from otel_tokenstream.settings import SettingError

__all__ = [
    "AnthropicInstrumentor",
    "AsyncSubscription",
    "Attachment",
    "BrokerSink",
    "DSPyInstrumentor",
    "EndEvent",
    "Event",
    "InstrumentOptions",
    "LangChainInstrumentor",
    "LionAGIInstrumentor",
    "LionprideInstrumentor",
    "LiteLLMInstrumentor",
    "OpenAIInstrumentor",
    "OutletError",
    "RabbitMQSink",
    "Redactor",
    "RedisSink",
    "SettingError",
    "Sink",
    "StallEvent",
    "StartEvent",
    "StepEnd",
    "StepEvent",
    "StepNote",
    "StepStart",
    "StreamText",
    "Terminal",
    "TokenCollector",
    "TokenConsumer",
    "TokenEvent",
    "Tokens",
    "__version__",
    "attach",
    "correlate",
    "flush",
    "step",
    "stream_fields",
    "subscribe",
    "tokens",
]

# Loaded when first asked for: the package is imported at the start of every process of a program.
_MODULES = {
    "AnthropicInstrumentor": "instrumentors",
    "AsyncSubscription": "live.subscribers",
    "Attachment": "live.sink",
    "BrokerSink": "live.broker_sink",
    "DSPyInstrumentor": "instrumentors",
    "EndEvent": "live.events",
    "Event": "live.events",
    "InstrumentOptions": "instrument_options",
    "LangChainInstrumentor": "instrumentors",
    "LionAGIInstrumentor": "instrumentors",
    "LionprideInstrumentor": "instrumentors",
    "LiteLLMInstrumentor": "instrumentors",
    "OpenAIInstrumentor": "instrumentors",
    "OutletError": "live.from_settings",
    "RabbitMQSink": "live.rabbitmq",
    "Redactor": "core.content.redaction",
    "RedisSink": "live.redis",
    "SettingError": "settings",
    "Sink": "live.sink",
    "StallEvent": "live.events",
    "StartEvent": "live.events",
    "StepEnd": "live.events",
    "StepEvent": "live.events",
    "StepNote": "live.events",
    "StepStart": "live.events",
    "StreamText": "live.rebuilding",
    "Terminal": "live.terminal",
    "TokenCollector": "live.collector",
    "TokenConsumer": "live.consumer",
    "TokenEvent": "live.events",
    "Tokens": "live.subscribers",
    "__version__": "core.runtime.version",
    "attach": "live.sink",
    "correlate": "core.content.correlation",
    "flush": "core.emit.telemetry",
    "step": "live.steps",
    "stream_fields": "fields.streamed",
    "subscribe": "live.subscribers",
    "tokens": "live.subscribers",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    found: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
