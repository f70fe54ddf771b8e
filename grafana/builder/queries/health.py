"""Queries for what is lost between the application and the back ends, and for the back ends themselves."""

from __future__ import annotations

from grafana.builder.names import label, metric
from grafana.builder.promql import SERVICE, a_minute, rate
from grafana.builder.queries.terms import ACTIVE, COLLECTOR_UP, ERROR, Query
from otel_tokenstream import signals

_LIBRARY, _ENTRY = label(signals.LIBRARY), label(signals.ENTRY)
_NO_LOSS = "nothing was lost there"
_NO_SAMPLING = "the local stack keeps everything"
_FAILED_IN_SDK = f'{SERVICE},error_type!=""'


def _loss(name: str, what: str, by: str, where: str = "") -> Query:
    return Query(a_minute(name, where, by), f"{what}: {{{{{by}}}}}", quiet=_NO_LOSS)


_IN_COLLECTOR = (
    ("receiver_refused", "refused", "transport"),
    ("exporter_enqueue_failed", "not queued", "exporter"),
    ("exporter_send_failed", "not sent", "exporter"),
)


def _lost_in_collector(*kinds: str) -> tuple[Query, ...]:
    return tuple(
        _loss(f"otelcol_{place}_{kind}_total", f"{kind.replace('_', ' ')} {what}", by)
        for place, what, by in _IN_COLLECTOR
        for kind in kinds
    )


HEALTH: dict[str, tuple[Query, ...]] = {
    "lost_spans": (
        _loss("otel_sdk_processor_span_processed_total", "not taken by the SDK", "error_type", _FAILED_IN_SDK),
        _loss("otel_sdk_exporter_span_exported_total", "not exported by the SDK", "error_type", _FAILED_IN_SDK),
        # The SDK counts spans that were refused by a status of HTTP as exported; the durations tell of them.
        _loss(
            "otel_sdk_exporter_operation_duration_seconds_count",
            "exports refused, HTTP",
            "http_response_status_code",
            f'{SERVICE},otel_component_type=~".*_span_exporter",http_response_status_code=~"[45].*"',
        ),
        *_lost_in_collector("spans"),
        _loss("tempo_discarded_spans_total", "discarded by Tempo", "reason"),
    ),
    "lost_others": (
        *_lost_in_collector("metric_points", "log_records"),
        _loss("loki_discarded_samples_total", "discarded by Loki", "reason"),
    ),
    "live": (
        Query(
            a_minute(metric(signals.LIVE_DROPPED), SERVICE, label(signals.LIVE_SINK)),
            f"{{{{{label(signals.LIVE_SINK)}}}}}",
            quiet="nobody looks on, or everybody keeps up",
        ),
    ),
    "faults": (Query(a_minute(metric(signals.FAULTS), SERVICE, ERROR), f"{{{{{ERROR}}}}}", quiet="no fault yet"),),
    "seams": (
        Query(
            f"sum by (service_name, {_LIBRARY}, {_ENTRY}) ({metric(signals.SEAMS_MISSING)}{{{SERVICE}}}) > 0",
            f"{{{{service_name}}}}: {{{{{_LIBRARY}}}}} {{{{{_ENTRY}}}}}",
            quiet="every entry is seen",
        ),
    ),
    "merged": (
        Query(
            a_minute(metric(signals.EVENTS_MERGED), SERVICE, "service_name"), "{{service_name}}", quiet="no long stream"
        ),
    ),
    "age": (Query(f"time() - max by (service_name) (timestamp({ACTIVE}{{{SERVICE}}}))", "{{service_name}}"),),
    "sdk_queue": (
        Query(f"max by (service_name) (otel_sdk_processor_span_queue_size{{{SERVICE}}})", "{{service_name}}"),
        # Under opentelemetry-instrument the SDK tells its capacity before there is a meter provider, to nobody.
        # 2,048 is its default.
        Query(f"min(otel_sdk_processor_span_queue_capacity{{{SERVICE}}}) or vector(2048)", "full"),
    ),
    "accepted": (
        Query(rate("otelcol_receiver_accepted_spans_total", ""), "spans"),
        Query(rate("otelcol_receiver_accepted_metric_points_total", ""), "metric points"),
        Query(rate("otelcol_receiver_accepted_log_records_total", ""), "log records"),
    ),
    "sent": (
        Query(rate("otelcol_exporter_sent_spans_total", "", by="exporter"), "{{exporter}} spans"),
        Query(rate("otelcol_exporter_sent_metric_points_total", "", by="exporter"), "{{exporter}} metric points"),
        Query(rate("otelcol_exporter_sent_log_records_total", "", by="exporter"), "{{exporter}} log records"),
    ),
    "queue": (
        Query(
            "max by (exporter, data_type) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
            "{{exporter}} {{data_type}}",
        ),
        Query("vector(1)", "full"),
    ),
    "memory": (Query("max by (service_instance_id) (otelcol_process_memory_rss_bytes)", "{{service_instance_id}}"),),
    "sampled": (
        Query(
            rate("otelcol_processor_tail_sampling_global_count_traces_sampled_total", "", by="decision"),
            "{{decision}}",
            quiet=_NO_SAMPLING,
        ),
    ),
    # Not the counter of traces dropped too early: under span-ingest it counts those kept at once.
    "undecided": (
        Query(
            "max by (service_instance_id) (otelcol_processor_tail_sampling_sampling_traces_on_memory)",
            "{{service_instance_id}}",
            quiet=_NO_SAMPLING,
        ),
    ),
    "tempo": (Query(rate("tempo_distributor_spans_received_total", ""), "spans"),),
    "truncated": (
        Query(a_minute("tempo_distributor_attributes_truncated_total", "", "scope"), "{{scope}}", quiet=_NO_LOSS),
    ),
    "up": (
        Query("min by (service_name) (up)", "{{service_name}}", shape="now"),
        Query(COLLECTOR_UP, "collector", shape="now"),
    ),
    "uptime": (
        Query("max by (service_instance_id) (otelcol_process_uptime_seconds_total)", "{{service_instance_id}}"),
    ),
    "rules": (
        Query(
            # A group's label is its file and its name.
            f"label_replace({a_minute('prometheus_rule_evaluation_failures_total', '', 'rule_group')},"
            ' "group", "$1", "rule_group", ".*;(.*)")',
            "{{group}}",
            quiet="every rule can be evaluated",
        ),
    ),
}
