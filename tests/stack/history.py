"""Telemetry with a past: what a service would have sent in the last hours, by OTLP.

Some rules look back farther than a test can wait. Prometheus takes samples up to six hours late, so
the engine evaluates the shipped windows over data that was only sent a moment ago.
"""

from __future__ import annotations

import os
import time

import requests
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from otel_tokenstream import signals

_STEP = 15
_OLDEST, _RECENT = 27 * 60, 9 * 60
_written = {}


def output_rate(endpoint, service, *, before, now):
    """Streams at ``before`` tokens a second until 9 minutes ago, and since then at ``now``; a second call goes on."""
    message, scope = _metrics(service)
    metric = scope.metrics.add(name=signals.OUTPUT_RATE_METRIC, unit=signals.METRICS[signals.OUTPUT_RATE_METRIC].unit)
    metric.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
    bounds = signals.METRICS[signals.OUTPUT_RATE_METRIC].buckets
    end = time.time()
    start, at, total, count = _written.get(service) or (end - _OLDEST, end - _OLDEST, 0.0, 0)
    again = service in _written
    while at < end:
        # The second call has little time and must outweigh what the first one wrote.
        rate, number = (now, 2000) if again else (before if at < end - _RECENT else now, 2)
        total, count = total + rate * number, count + number
        point = metric.histogram.data_points.add(
            start_time_unix_nano=int(start * 1e9), time_unix_nano=int(at * 1e9), count=count, sum=total
        )
        point.explicit_bounds.extend(bounds)
        point.bucket_counts.extend([0] * len(bounds) + [count])
        _model(point)
        at += _STEP
    _written[service] = (start, at, total, count)
    _post(f"{endpoint}/v1/metrics", message)


def silence(endpoint, service):
    """A service that was there from three hours to 11 minutes ago."""
    now = time.time()
    _gauge(endpoint, service, [now - ago for ago in range(180 * 60, 11 * 60, -60)])


def alive(endpoint, service):
    """The same service, back again."""
    _gauge(endpoint, service, [time.time()])


def deployment(endpoint, service):
    """Version 1 from 27 minutes ago, version 2 beside it from 9 minutes ago."""
    now = time.time()
    for version, age in (("1", _OLDEST), ("2", _RECENT)):
        message, scope = _metrics(service, version)
        metric = scope.metrics.add(name=signals.STREAM_ACTIVE, unit="{stream}")
        for step in range(int(age // _STEP)):
            at = now - age + step * _STEP
            _model(metric.gauge.data_points.add(time_unix_nano=int(at * 1e9), as_int=0))
        _post(f"{endpoint}/v1/metrics", message)


def large_trace(endpoint, service):
    """One trace of 8 MB in four messages, each small enough to pass every limit on the way."""
    trace_id = os.urandom(16)
    for _ in range(4):
        message = ExportTraceServiceRequest()
        resource = message.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = service
        scope = resource.scope_spans.add()
        for _ in range(1000):
            now = time.time_ns()
            span = scope.spans.add(
                trace_id=trace_id,
                span_id=os.urandom(8),
                name="filler",
                start_time_unix_nano=now,
                end_time_unix_nano=now,
            )
            span.attributes.add(key="filler").value.string_value = os.urandom(1000).hex()
        _post(f"{endpoint}/v1/traces", message)


def _gauge(endpoint, service, times):
    message, scope = _metrics(service)
    metric = scope.metrics.add(name=signals.STREAM_ACTIVE, unit="{stream}")
    for at in times:
        _model(metric.gauge.data_points.add(time_unix_nano=int(at * 1e9), as_int=0))
    _post(f"{endpoint}/v1/metrics", message)


def _metrics(service, version="1"):
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    for key, value in (("service.name", service), ("service.instance.id", "one"), ("service.version", version)):
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    scope.scope.name = signals.SCOPE
    return message, scope


def _model(point):
    for key, value in ((signals.REQUEST_MODEL, "m"), (signals.PROVIDER_NAME, "p"), (signals.OPERATION_NAME, "chat")):
        point.attributes.add(key=key).value.string_value = value


def _post(url, message):
    answer = requests.post(
        url, data=message.SerializeToString(), headers={"Content-Type": "application/x-protobuf"}, timeout=20
    )
    answer.raise_for_status()
