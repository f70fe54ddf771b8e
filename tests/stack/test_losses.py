"""Each way to lose telemetry, on the real components: the panels of losses show it and the alert's counters move."""

from __future__ import annotations

import os
import time

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from grafana.builder.queries import HEALTH
from otel_tokenstream.demo.children import free_port
from tests.stack import history
from tests.stack.ask import fill, get, logql, promql
from tests.stack.servers import LAYERS, compose_layers, wait_until

SERVICE = "losing"
HOUR = 3600
NOWHERE = f"http://127.0.0.1:{free_port()}"

# One Collector for each place of a loss. All of them report on themselves to the real Prometheus.
NAMED = "service: {telemetry: {resource: {service.instance.id: losing-%s}}}\n"
REFUSING = NAMED % "refusing" + "processors: {memory_limiter: {limit_mib: 2, spike_limit_mib: 1}}\n"
# A queue holds at least one batch.
FULL = """
exporters:
  otlp_http/tempo: {sending_queue: &queue {queue_size: 3000, batch: {min_size: 1000, max_size: 3000}}}
  otlp_http/prometheus: {sending_queue: *queue}
  otlp_http/loki: {sending_queue: *queue}
  otlp_http/self: {metrics_endpoint: "${env:SELF_ENDPOINT}/v1/metrics"}
service:
  telemetry: {resource: {service.instance.id: losing-full}}
  pipelines: {metrics/self: {exporters: [otlp_http/self]}}
"""


def spans(number, text="", age=0.0, service=SERVICE):
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_spans.add()
    for _ in range(number):
        now = time.time_ns() - int(age * 1e9)
        span = scope.spans.add(
            trace_id=os.urandom(16), span_id=os.urandom(8), name="x", start_time_unix_nano=now, end_time_unix_nano=now
        )
        if text:
            span.attributes.add(key="text").value.string_value = text
    return message


def points(number, age=0.0):
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = SERVICE
    metric = resource.scope_metrics.add().metrics.add(name="losing.points")
    for index in range(number):
        point = metric.gauge.data_points.add(time_unix_nano=int((time.time() - age) * 1e9), as_int=1)
        point.attributes.add(key="index").value.int_value = index
    return message


def records(number, age=0.0, service=SERVICE):
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_logs.add()
    for _ in range(number):
        scope.log_records.add(time_unix_nano=int((time.time() - age) * 1e9)).body.string_value = "x"
    return message


def post(base, message):
    """Send by OTLP and return the status."""
    kind = {"Trace": "traces", "Metrics": "metrics", "Logs": "logs"}[type(message).__name__[6:-14]]
    headers = {"Content-Type": "application/x-protobuf"}
    return requests.post(f"{base}/v1/{kind}", data=message.SerializeToString(), headers=headers, timeout=20).status_code


@pytest.fixture(scope="module")
def refusing(stack):
    """A Collector over its limit of memory."""
    layer = stack.directory / "refusing.yaml"
    layer.write_text(REFUSING)
    collector = stack.collector("refusing", *[LAYERS / name for name in compose_layers()], layer)
    wait_until(lambda: post(collector.http, spans(1)) == 503, 20, what="the memory limiter's first look")
    return collector


@pytest.fixture(scope="module")
def full(stack):
    """A Collector whose back ends are gone and whose queues are short."""
    layer = stack.directory / "full.yaml"
    layer.write_text(FULL)
    prometheus = f"{stack.url('prometheus')}/api/v1/otlp"
    gone = {f"{name}_OTLP_ENDPOINT": NOWHERE for name in ("TEMPO", "PROMETHEUS", "LOKI")}
    return stack.collector(
        "full",
        *[LAYERS / name for name in compose_layers()],
        layer,
        environment={**gone, "SELF_ENDPOINT": prometheus},
    )


@pytest.fixture(scope="module")
def on_a_full_disk(stack):
    """A Collector whose back end is gone and whose queue finds no more room than 2 MB."""
    layer = stack.directory / "disk.yaml"
    layer.write_text(NAMED % "disk")
    return stack.collector(
        "disk",
        *[LAYERS / name for name in compose_layers()],
        layer,
        environment={"TEMPO_OTLP_ENDPOINT": NOWHERE},
        wrapper=("prlimit", "--fsize=2000000"),
    )


@pytest.fixture(scope="module")
def unwelcome(stack):
    """A Collector whose one back end takes metrics alone, and no old ones: Prometheus."""
    layer = stack.directory / "unwelcome.yaml"
    layer.write_text(NAMED % "unwelcome")
    vendor = {
        "OTLP_VENDOR_ENDPOINT": f"{stack.url('prometheus')}/api/v1/otlp",
        "OTLP_VENDOR_AUTHORIZATION": "Bearer none",
    }
    return stack.collector("unwelcome", LAYERS / "base.yaml", LAYERS / "vendor.yaml", layer, environment=vendor)


@pytest.fixture(scope="module")
def application(stack, refusing):
    """A program with short queues, one before a Collector that refuses and one before none; its metrics arrive."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
        resource = Resource.create({"service.name": SERVICE})
        metrics = OTLPMetricExporter(f"{stack.collectors['collector'].http}/v1/metrics")
        meters = MeterProvider([PeriodicExportingMetricReader(metrics, 2000)], resource)
        tracers = TracerProvider(resource=resource, meter_provider=meters)
        for endpoint in (refusing.http, NOWHERE):
            spans = OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=4, meter_provider=meters)
            tracers.add_span_processor(
                BatchSpanProcessor(spans, max_queue_size=4, max_export_batch_size=4, meter_provider=meters)
            )
    tracer = tracers.get_tracer("losing")
    for _ in range(3):
        for _ in range(100):
            tracer.start_span("x").end()
        tracers.force_flush()
    meters.force_flush()
    yield
    tracers.shutdown()
    meters.shutdown()


@pytest.fixture(scope="module")
def losses(stack, application, refusing, full, unwelcome):  # noqa: ARG001 - the application loses by itself
    """Everything is lost once, everywhere."""
    for make in (spans, points, records):
        assert post(refusing.http, make(5)) == 503
        # The first ones wait for a back end that does not come, the last ones find the queue full.
        wait_until(lambda make=make: post(full.http, make(15)) != 200, 20, what=f"a full queue for {make.__name__}")
    assert post(unwelcome.http, spans(5)) == 200
    assert post(unwelcome.http, points(5, age=8 * HOUR)) == 200
    assert post(unwelcome.http, records(5)) == 200
    assert post(f"{stack.url('loki')}/otlp", records(5, age=30 * 24 * HOUR)) == 400
    if stack.has_tempo:
        shipped = stack.collectors["collector"].http
        history.large_trace(shipped, SERVICE)
        assert post(shipped, spans(5, text="x" * 3000)) == 200


QUERIES = [
    pytest.param(query, id=f"{name}-{number}", marks=[pytest.mark.tempo] if "tempo_" in query.text else [])
    for name in ("lost_spans", "lost_others", "truncated")
    for number, query in enumerate(HEALTH[name])
]


@pytest.mark.usefixtures("losses")
@pytest.mark.parametrize("query", QUERIES)
def test_the_panels_of_losses_show_each(stack, query):
    """Where it was lost, and by what reason."""
    text = fill(query.text, service=SERVICE)
    found = wait_until(lambda: promql(stack.url("prometheus"), f"{text} > 0"), 60, what=text)
    assert all(next(iter(labels.values())) for labels, _ in found)


def test_a_full_disk_is_told_to_the_sender_and_counted(stack, on_a_full_disk):
    """What finds no room in the queue is no silent loss."""
    message = spans(500, text="x" * 100)
    wait_until(lambda: post(on_a_full_disk.http, message) == 503, 60, every=0, what="a full disk")
    counter = 'otelcol_exporter_enqueue_failed_spans_total{service_instance_id="losing-disk"}'
    wait_until(lambda: promql(stack.url("prometheus"), f"increase({counter}[5m]) > 0"), 60, what=counter)


def test_the_queue_survives_a_killed_collector(stack):
    """Accepted while Loki was away, sent by the next Collector that finds the queue."""
    layers = [LAYERS / name for name in compose_layers()]
    before = time.time()
    killed = stack.collector("killed", *layers, environment={"LOKI_OTLP_ENDPOINT": NOWHERE})
    assert post(killed.http, records(7, service="killed")) == 200
    killed.process.kill()
    killed.process.wait()
    stack.collector("revived", *layers, environment={"OTELCOL_STORAGE": str(stack.directory / "killed-queue")})
    held = lambda: sum(len(each["values"]) for each in logql(stack.url("loki"), '{service_name="killed"}', before))  # noqa: E731
    wait_until(held, 30, what="the queued records")
    assert held() == 7


@pytest.mark.tempo
def test_traces_that_come_late_are_found_at_their_own_time(stack):
    """As after an outage: dashboards search the time of the outage, and not what came in since."""
    assert post(stack.collectors["collector"].http, spans(7, age=600, service="late-comer")) == 200
    then, query = time.time() - 600, '{ resource.service.name = "late-comer" }'

    def found():
        window = {"start": int(then) - 60, "end": int(then) + 60}
        return get(f"{stack.url('tempo')}/api/search", q=query, limit=100, **window).json().get("traces", [])

    wait_until(lambda: len(found()) == 7, 60, what="the late traces")
