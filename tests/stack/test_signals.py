"""What a program sent is what the back ends hold: spans, events, metrics, exemplars, log records."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from grafana.builder.names import label, metric, series
from otel_tokenstream import signals
from tests.stack.ask import exemplars, get, logql, promql, trace
from tests.stack.servers import wait_until


def spans_of(message):
    return [span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture(scope="module")
def sent_spans(shown):
    return spans_of(TracesData.FromString((shown.truth / "traces.pb").read_bytes()))


@pytest.fixture(scope="module")
def sent_metrics(shown):
    message = MetricsData.FromString((shown.truth / "metrics.pb").read_bytes())
    return {m.name: m for r in message.resource_metrics for scope in r.scope_metrics for m in scope.metrics}


def plain(value):
    """Return an OTLP value as one of Python's."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(plain(each) for each in value.array_value.values)
    return getattr(value, kind) if kind else None


def attributes(thing):
    return {each.key: plain(each.value) for each in thing.attributes}


def content(span):
    """Return everything a span says, in a form to compare."""
    return {
        "name": span.name,
        "kind": span.kind,
        "parent": span.parent_span_id,
        "times": (span.start_time_unix_nano, span.end_time_unix_nano),
        "status": span.status.code,
        "attributes": attributes(span),
        # The order of an event's attributes is part of what dashboards rely on.
        "events": [(e.name, e.time_unix_nano, list(attributes(e).items())) for e in span.events],
    }


@pytest.mark.tempo
def test_tempo_holds_every_span_and_event_as_sent(stack, sent_spans):
    """Names, times, attributes, events in their order and the order of their attributes."""
    assert len(sent_spans) > 60
    assert sum(len(span.events) for span in sent_spans) > 500
    traces = {span.trace_id.hex() for span in sent_spans}
    kept = {}
    for trace_id in traces:
        found = wait_until(lambda trace_id=trace_id: trace(stack.url("tempo"), trace_id), 60, what=f"trace {trace_id}")
        kept.update({span.span_id: span for span in spans_of(found)})
    assert kept.keys() == {span.span_id for span in sent_spans}
    for span in sent_spans:
        found, sent = content(kept[span.span_id]), content(span)
        # One by one, so that a failure shows an event and not a whole span.
        for one, other in zip(found.pop("events"), sent.pop("events"), strict=True):
            assert one == other
        assert found == sent


@pytest.mark.parametrize("name", signals.METRICS)
def test_prometheus_holds_every_metric_as_sent(stack, sent_metrics, name):
    """Sums, counts and buckets by label, under the names that the dashboards use."""
    if name in (signals.STREAM_ACTIVE, signals.STREAM_STALLED):
        assert promql(stack.url("prometheus"), f'{metric(name)}{{service_name="shown"}}')
        return
    sent = sent_metrics[name]
    points = getattr(sent, sent.WhichOneof("data")).data_points
    assert points

    keys = {label(each) for each in signals.METRICS[name].attributes}
    wanted = dict(pair for point in points for pair in as_series(name, point))

    def as_sent():
        found = {
            (each, identity((k, v) for k, v in labels.items() if k in keys or k == "le")): value
            for each in series(name)
            for labels, value in promql(stack.url("prometheus"), f'{each}{{service_name="shown"}}')
        }
        return wanted == pytest.approx({which: value for which, value in found.items() if which in wanted})

    wait_until(as_sent, 40, what=f"{name} as sent")


def identity(labels):
    """Return labels in a form to compare; bounds of buckets are numbers, however they are written."""
    return tuple(sorted((k, float(v)) if k == "le" else (k, v) for k, v in labels))


def as_series(name, point):
    """Yield ((series, labels), value) as Prometheus should have them."""
    labels = [(label(k), str(v).lower() if isinstance(v, bool) else str(v)) for k, v in attributes(point).items()]
    if signals.METRICS[name].kind == "counter":
        yield (metric(name), identity(labels)), point.as_double or point.as_int
        return
    yield (f"{metric(name)}_count", identity(labels)), point.count
    yield (f"{metric(name)}_sum", identity(labels)), point.sum
    total = 0
    for bound, number in zip((*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True):
        total += number
        yield (f"{metric(name)}_bucket", identity([*labels, ("le", bound)])), total


def test_exemplars_lead_to_the_spans_they_were_recorded_in(stack, shown, sent_spans):
    """A click on a spike opens the stream that made it."""
    ids = {span.trace_id.hex(): span for span in sent_spans}
    name = metric(signals.TIME_TO_FIRST_TOKEN)
    query = f'{name}_bucket{{service_name="shown"}}'
    found = wait_until(lambda: exemplars(stack.url("prometheus"), query, shown.started), 40, what="exemplars")
    assert len({labels["gen_ai_request_model"] for labels, _ in found}) >= 4
    for labels, exemplar in found:
        span = ids[exemplar["labels"]["trace_id"]]
        model = attributes(span).get(signals.REQUEST_MODEL)
        if model == labels["gen_ai_request_model"]:
            first_token = attributes(span)[signals.TIME_TO_FIRST_TOKEN_MS]
            assert float(exemplar["value"]) * 1000 == pytest.approx(first_token, abs=1)


def test_loki_holds_every_log_record_as_sent(stack, shown):
    """Event name, time, trace, and every attribute."""
    message = LogsData.FromString((shown.truth / "logs.pb").read_bytes())
    records = [each for r in message.resource_logs for scope in r.scope_logs for each in scope.log_records]
    sent = Counter(
        (
            record.time_unix_nano,
            record.event_name,
            record.trace_id.hex(),
            frozenset((label(k), _text(v)) for k, v in attributes(record).items()),
        )
        for record in records
    )
    of_errors = (signals.EXCEPTION_TYPE, signals.EXCEPTION_MESSAGE)
    names = {label(name) for name in (*signals.EVENT_ATTRIBUTES, *signals.SPAN_ATTRIBUTES, *of_errors)}

    def held():
        return Counter(
            (int(at), stream["stream"]["event_name"], stream["stream"]["trace_id"], _ours(stream["stream"], names))
            for stream in logql(stack.url("loki"), '{service_name="shown"}', shown.started)
            for at, _ in stream["values"]
        )

    assert len(records) > 500
    wait_until(lambda: sum(held().values()) >= len(records), 60, what="all log records")
    assert held() == sent


def _ours(labels, names):
    return frozenset((name, value) for name, value in labels.items() if name in names)


def _text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.usefixtures("shown")
def test_the_collector_reports_on_itself(stack):
    """Its own metrics come by OTLP, with names that end in _total, past its memory limiter."""
    prometheus = stack.url("prometheus")
    wait_until(lambda: promql(prometheus, "otelcol_receiver_accepted_spans_total > 0"), 30, what="its counters")
    assert promql(prometheus, "otelcol_exporter_queue_capacity")
    # Those of test_losses.py lose on purpose.
    shipped = 'exporter!="otlp_http/second",service_instance_id!~"losing.*"'
    lost = promql(prometheus, f"otelcol_exporter_send_failed_spans_total{{{shipped}}} > 0")
    assert not lost
    assert get(f"{prometheus}/-/healthy").status_code == 200
