"""Options of ``instrument()``, for editors and type checkers. Settings are described in ``settings``."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from otel_tokenstream.settings import CaptureContent, Emitters, MetricNames


class InstrumentOptions(TypedDict, total=False):
    """Keyword arguments of ``instrument()``; an option that is left out comes from the environment."""

    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    logger_provider: LoggerProvider | None
    events: Emitters | None
    event_budget: int | None
    offsets: int | None
    stall_threshold: float | None
    first_token_threshold: float | None
    metric_names: MetricNames | None
    chunk_metrics: bool | None
    fields: bool | None
    dspy_stream: str | Collection[str] | None
    dspy_optimizers: bool | None
    langchain_steps: int | None
    langchain_ids: str | Collection[str] | None
    request_usage: bool | None
    proxy_attributes: str | Collection[str] | None
    model_limit: int | None
    capture_content: CaptureContent | None
    content_limit: int | None
    content_value_limit: int | None
    redact: Callable[[str], str] | str | None
    live: str | Collection[str] | None
    live_text: bool | None
    baggage_keys: str | Collection[str] | None
    skip_dep_check: bool
    """Instrument without a check of the library's version; ``opentelemetry-instrument`` has made it already."""
    raise_exception_on_conflict: bool
    """Raise instead of logging when the library's version is not supported."""
