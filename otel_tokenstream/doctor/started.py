"""Runs under ``opentelemetry-instrument``: tells what was started, asks its receivers, and sends a span and a metric.

What is sent goes through the exporters that the SDK was configured with, so that nothing is guessed from variables.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry._logs import get_logger_provider
from opentelemetry.util.re import parse_env_headers

from otel_tokenstream.doctor.libraries import PREFIX
from otel_tokenstream.doctor.receiver import Receiver, ask
from otel_tokenstream.doctor.starting import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRACES = 1_000  # traces that begin, to see how many are kept
_NAME = "otel-tokenstream doctor"


class _Heard(logging.Handler):
    """Collect the exporters' log messages, which hold the reasons for failures."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def told() -> dict[str, Any]:
    provider = trace.get_tracer_provider()
    if not hasattr(provider, "sampler"):
        return {"has_sdk": False}
    found = {"traces": _of_spans(provider), "metrics": _of_metrics(), "logs": _of_logs()}
    receivers = [_asked(signal, exporter) for signal, exporters in found.items() for exporter in exporters]
    answered = [each for each in receivers if each is not None]
    can_send = [signal for signal in found if not any(each["signal"] == signal and each["wrong"] for each in answered)]
    return {
        "has_sdk": True,
        "instrumented": _instrumented(),
        "sampler": provider.sampler.get_description(),
        "sampled": _sampled(provider.sampler),
        "exporters": {signal: [type(each).__name__ for each in of] for signal, of in found.items() if of},
        "receivers": answered,
        "sent": [
            _sent(signal, exporter)
            for signal in can_send
            for exporter in found[signal]
            if signal != "logs" and _is_otlp(exporter)
        ],
    }


def _instrumented() -> list[str]:
    ours = [entry for entry in entry_points(group="opentelemetry_instrumentor") if entry.name.startswith(PREFIX)]
    return sorted(entry.name for entry in ours if entry.load()().is_instrumented_by_opentelemetry)


def _of_spans(provider: Any) -> list[Any]:
    processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())
    return [each.span_exporter for each in processors if hasattr(each, "span_exporter")]


def _of_metrics() -> list[Any]:
    readers = getattr(metrics.get_meter_provider(), "_metric_readers", ())
    return [getattr(each, "_exporter", each) for each in readers]


def _of_logs() -> list[Any]:
    processor = getattr(get_logger_provider(), "_multi_log_record_processor", None)
    found = (
        getattr(each, "_exporter", None) or getattr(getattr(each, "_batch_processor", None), "_exporter", None)
        for each in getattr(processor, "_log_record_processors", ())
    )
    return [each for each in found if each is not None]


def _is_otlp(exporter: Any) -> bool:
    return ".otlp." in type(exporter).__module__


def _sampled(sampler: Any) -> float:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415  # there, since it was started

    make = RandomIdGenerator().generate_trace_id
    kept = [sampler.should_sample(None, make(), "chat", trace.SpanKind.CLIENT, {}) for _ in range(_TRACES)]
    return float(sum(each.decision.is_sampled() for each in kept)) / _TRACES


def _asked(signal: str, exporter: Any) -> dict[str, Any] | None:
    endpoint = getattr(exporter, "_endpoint", None)
    if not _is_otlp(exporter) or not isinstance(endpoint, str):
        return None
    is_grpc = ".grpc." in type(exporter).__module__
    variables = [f"OTEL_EXPORTER_OTLP_{signal.upper()}_", "OTEL_EXPORTER_OTLP_"]
    receiver = Receiver(
        signal=signal,
        url=f"{'http' if getattr(exporter, '_insecure', True) else 'https'}://{endpoint}" if is_grpc else endpoint,
        is_grpc=is_grpc,
        headers=dict(parse_env_headers(_first(variables, "HEADERS"), liberal=True)),
        certificate=_first(variables, "CERTIFICATE"),
        client_certificate=_first(variables, "CLIENT_CERTIFICATE"),
        client_key=_first(variables, "CLIENT_KEY"),
    )
    return {"signal": signal, "is_grpc": is_grpc, "url": receiver.url, **ask(receiver)}


def _first(prefixes: Iterable[str], name: str) -> str:
    return next((value for prefix in prefixes if (value := os.environ.get(prefix + name))), "")


def _sent(signal: str, exporter: Any) -> dict[str, Any]:
    heard = _Heard()
    logging.getLogger("opentelemetry").addHandler(heard)
    try:
        result = exporter.export(_spans() if signal == "traces" else _metrics())
        is_sent = result.name == "SUCCESS"
    except Exception as error:  # noqa: BLE001  # whatever an exporter does is the finding
        is_sent = False
        heard.lines.append(f"{type(error).__name__}: {error}")
    finally:
        logging.getLogger("opentelemetry").removeHandler(heard)
    url = getattr(exporter, "_endpoint", "")
    host = urlsplit(url if "//" in url else f"//{url}").netloc.rpartition("@")[2]
    return {"signal": signal, "to": host, "is_sent": is_sent, "said": heard.lines[0] if heard.lines else ""}


def _spans() -> Any:
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # as above
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415

    kept = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_ON, resource=trace.get_tracer_provider().resource)  # type: ignore[attr-defined]  # of the SDK
    provider.add_span_processor(SimpleSpanProcessor(kept))
    provider.get_tracer(_NAME).start_span(_NAME).end()
    return kept.get_finished_spans()


def _metrics() -> Any:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  # as above
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=trace.get_tracer_provider().resource)  # type: ignore[attr-defined]  # of the SDK
    provider.get_meter(_NAME).create_counter("tokenstream.doctor", unit="{run}").add(1)
    return reader.get_metrics_data()


if __name__ == "__main__":
    sys.stdout.write(f"\n{MARK}{json.dumps(told())}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the exporters would go on trying at exit
