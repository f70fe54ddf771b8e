"""Streams with the same arrivals each time, and all that a back end receives of them by OTLP.

``python -m tests.core.emit.recorded_streams`` prints it for ``recorded_streams.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest.mock import patch

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import REASONING, TEXT
from otel_tokenstream.core.call.model_call import Start
from otel_tokenstream.core.call.request import Request, Usage
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.settings import Settings

MS = 1_000_000
# Counts of the whole process, by whatever ran in it.
OF_THE_PROCESS = (signals.FAULTS, signals.LIVE_DROPPED, signals.SEAMS_MISSING)
STARTED, ANCHOR = 7_000_000_000, 1_790_000_000_000_000_000
# model, chunks, how the call ended
STREAMS = (
    ("letters", 1, "completed"),
    ("letters", 2, "completed"),
    ("letters", 10, "completed"),
    ("letters", 30, "failed"),
    ("numbers", 33, "cancelled"),
    ("numbers", 100, "completed"),
    ("numbers", 101, "closed"),
    ("letters", 1_000, "completed"),
    ("silent", 0, "abandoned"),
)


def sent() -> dict[str, Any]:
    """Record the streams and return spans and data points as they are encoded, without ids and times of recording."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = Telemetry(Settings(), tracing, MeterProvider([reader], shutdown_on_exit=False))
    for number, (model, chunks, outcome) in enumerate(STREAMS):
        _record(telemetry, number, model, chunks, outcome)
    data = reader.get_metrics_data()
    return {"spans": _spans(exporter.get_finished_spans()), "points": _points(data)}


def _record(telemetry: Telemetry, number: int, model: str, chunks: int, outcome: str) -> None:
    with patch.object(Start, "now", return_value=Start(STARTED, ANCHOR)):
        call = telemetry.start(Request("chat", "scripted", model, stream=True, server_address="models.example"))
    assert call is not None
    call.opened = at = STARTED + 40 * MS
    for chunk in range(chunks):
        wait = 3 * MS + chunk * 7_919 % 97 * 250_017
        if chunk % 40 == 35:
            wait += 2_100 * MS
        kept = chunk * 104_729 % 31 * 33_331
        kind = REASONING if chunk < number else TEXT
        field = "answer" if number % 3 == 2 and kind is TEXT else None
        call.chunk(at + kept, at + kept + wait, kind, 1 + chunk % 9, field, None)
        at += kept + wait
    if outcome == "completed":
        call.usage = Usage(input=17, output=chunks + 3, cache_read=5, reasoning=min(chunks, number))
        call.finish_reasons[0] = "stop"
        call.response_model, call.response_id, call.cost_usd = f"{model}-2026", f"id-{number}", 0.000_25
    call.end(outcome, TimeoutError() if outcome == "failed" else None, at + 11 * MS)


def _spans(finished: Any) -> list[Any]:
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    (resource,) = encode_spans(finished).resource_spans
    found = []
    for span in (span for scope in resource.scope_spans for span in scope.spans):
        events = []
        for event in span.events:
            about = MessageToDict(event)
            events.append([event.name, event.time_unix_nano - ANCHOR, _plain(about.get("attributes", ()))])
        plain = MessageToDict(span)
        about = {name: plain.get(name) for name in ("name", "kind", "status", "droppedEventsCount")}
        # Events keep the order of their attributes, in which Grafana addresses them.
        attributes = sorted(_plain(plain["attributes"]))
        found.append({**about, "ended": span.end_time_unix_nano - ANCHOR, "attributes": attributes, "events": events})
    return found


def _plain(attributes: Any) -> list[Any]:
    return [[each["key"], each["value"]] for each in attributes]


def _points(data: Any) -> list[Any]:
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    found = []
    for resource in MessageToDict(encode_metrics(data))["resourceMetrics"]:
        for metric in (metric for scope in resource["scopeMetrics"] for metric in scope["metrics"]):
            if metric["name"] in OF_THE_PROCESS:
                continue
            for kind in ("sum", "histogram", "gauge"):
                for point in metric.get(kind, {}).get("dataPoints", ()):
                    told = {name: value for name, value in point.items() if "UnixNano" not in name}
                    told["attributes"] = sorted(_plain(point.get("attributes", ())))
                    told["exemplars"] = sorted(
                        each["asDouble"] for each in point.get("exemplars", ()) if "asDouble" in each
                    )
                    found.append([metric["name"], kind, told])
    return sorted(found, key=lambda each: json.dumps([each[0], each[2]["attributes"]]))


if __name__ == "__main__":
    told = sent()
    lines = {name: ",\n".join(json.dumps(each, sort_keys=True) for each in told[name]) for name in told}
    sys.stdout.write(f'{{"spans": [\n{lines["spans"]}\n], "points": [\n{lines["points"]}\n]}}\n')
