"""A back end away for ten minutes while telemetry goes on: what arrives in the end, and how full its queue was.

    python benchmarks/stack_outage.py loki|tempo|prometheus [--minutes 10] [--kill]

Every half second one span, one log record and one metric point go to the Collector, which runs with the layers
of docker-compose.yml. The back end is stopped (--kill: killed) after half a minute, started again when the time
is over, and then asked for all of it. Needs the components of tests/stack, of the back ends only the one named.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import requests  # noqa: E402
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest  # noqa: E402
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest  # noqa: E402
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402

from otel_tokenstream.demo.children import Children  # noqa: E402
from tests.stack import servers  # noqa: E402
from tests.stack.ask import get, logql, promql  # noqa: E402

EVERY = 0.5
BEFORE, AFTER = 30, 30
SELF = """
exporters: {file/self: {path: "${env:CAPTURE}/self.json", flush_interval: 1s}}
service: {pipelines: {metrics/self: {exporters: [file/self]}}}
"""


class Sender(threading.Thread):
    """Sends one of each kind at a time, remembers what was taken and sends again what was refused."""

    def __init__(self, endpoint):
        super().__init__(daemon=True)
        self._endpoint, self.stopped = endpoint, threading.Event()
        self.taken = {"traces": 0, "logs": 0, "metrics": 0}
        self.trace_ids, self.found_ids = [], set()
        self.refused = 0

    def run(self):
        session, due = requests.Session(), time.monotonic()
        while not self.stopped.is_set():
            for kind, message in self._messages(self.taken["traces"]):
                while not self._taken(session, kind, message.SerializeToString()):
                    self.refused += 1
                    time.sleep(1)
                self.taken[kind] += 1
            due += EVERY
            time.sleep(max(0, due - time.monotonic()))

    def _taken(self, session, kind, body):
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            return session.post(f"{self._endpoint}/v1/{kind}", data=body, headers=headers, timeout=10).ok
        except requests.RequestException:
            return False

    def _messages(self, number):
        now, trace_id = time.time_ns(), os.urandom(16)
        self.trace_ids.append(trace_id.hex())
        traces, logs, metrics = ExportTraceServiceRequest(), ExportLogsServiceRequest(), ExportMetricsServiceRequest()
        for resource in (traces.resource_spans.add(), logs.resource_logs.add(), metrics.resource_metrics.add()):
            resource.resource.attributes.add(key="service.name").value.string_value = "outage"
        traces.resource_spans[0].scope_spans.add().spans.add(
            trace_id=trace_id,
            span_id=os.urandom(8),
            name="outage",
            start_time_unix_nano=now - 10**9,
            end_time_unix_nano=now,
        )
        record = logs.resource_logs[0].scope_logs.add().log_records.add(time_unix_nano=now)
        record.body.string_value = f"record {number}"
        gauge = metrics.resource_metrics[0].scope_metrics.add().metrics.add(name="outage.points").gauge
        gauge.data_points.add(time_unix_nano=now, as_int=number)
        return (("traces", traces), ("logs", logs), ("metrics", metrics))


def arrived(stack, name, began, sender):
    """Return how many traces, records or points a back end has; each trace is asked for by its id."""
    if name == "prometheus":
        found = promql(stack.url(name), "sum(count_over_time(outage_points[6h]))")
        return round(found[0][1]) if found else 0
    if name == "loki":
        found = logql(stack.url(name), 'sum(count_over_time({service_name="outage"}[6h]))', began, "query")
        return sum(int(each["value"][1]) for each in found)
    session = requests.Session()
    wanted = [each for each in sender.trace_ids if each not in sender.found_ids]
    sender.found_ids |= {each for each in wanted if session.get(f"{stack.url(name)}/api/traces/{each}", timeout=20).ok}
    return len(sender.found_ids)


def searched(stack, began):
    """Return how many of the traces Tempo finds by searching in time, as dashboards do."""
    text = '{ resource.service.name = "outage" }'
    end = int(time.time()) + 60
    traces = get(f"{stack.url('tempo')}/api/search", q=text, start=int(began) - 60, end=end, limit=20000, spss=1).json()
    return len({trace["traceID"] for trace in traces.get("traces", ())})


def queue(collector, exporter):
    """Return the fullest that a queue was, in bytes, and what the exporter gave up for good."""
    import json

    fullest, lost = 0, 0
    for line in (collector.out / "self.json").read_text().splitlines():
        for resource in json.loads(line)["resourceMetrics"]:
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    points = (metric.get("gauge") or metric.get("sum") or {}).get("dataPoints", ())
                    for point in points:
                        at = {each["key"]: each["value"].get("stringValue") for each in point.get("attributes", ())}
                        if at.get("exporter") != exporter:
                            continue
                        if metric["name"] == "otelcol_exporter_queue_size":
                            fullest = max(fullest, int(point["asInt"]))
                        if metric["name"].startswith(("otelcol_exporter_send_failed", "otelcol_exporter_enqueue")):
                            lost = max(lost, int(point["asInt"]))
    return fullest, lost


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=("loki", "tempo", "prometheus"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    name, began = arguments.backend, time.time()
    with tempfile.TemporaryDirectory() as directory, Children(Path(directory)) as children:
        stack = servers.Stack(Path(directory), children)
        start = {"loki": stack._loki, "tempo": stack.start_tempo, "prometheus": stack._prometheus}[name]

        def started():
            _, process, path = start()
            children.ready(name, process, f"{stack.url(name)}{path}", within=300)
            return process

        process = started()
        layer = Path(directory) / "self.yaml"
        layer.write_text(SELF)
        collector = stack.collector("outage", *(servers.LAYERS / each for each in servers.compose_layers()), layer)
        sender = Sender(collector.http)
        sender.start()
        time.sleep(BEFORE)
        stopping = time.monotonic()
        process.send_signal(signal.SIGKILL if arguments.kill else signal.SIGTERM)
        process.wait()
        print(f"{name} {'killed' if arguments.kill else 'stopped'} in {time.monotonic() - stopping:.1f} s", flush=True)
        time.sleep(arguments.minutes * 60)
        process, back = started(), time.monotonic()
        time.sleep(AFTER)
        sender.stopped.set()
        sender.join()
        kind = {"loki": "logs", "tempo": "traces", "prometheus": "metrics"}[name]
        sent, found, quiet = sender.taken[kind], -1, time.monotonic()
        while found < sent and time.monotonic() - quiet < 120:
            now = arrived(stack, name, began, sender)
            if now > found:
                found, quiet = now, time.monotonic()
            time.sleep(1)
        took = time.monotonic() - back
        fullest, lost = queue(collector, f"otlp_http/{name}")
        print(
            f"{name}: away for {arguments.minutes:g} min; {sent} sent, {found} found, {sent - found} missing; complete "
            f"{took:.0f} s after its return; queue at most {fullest:,} bytes; {lost} given up by the Collector; "
            f"{sender.refused} refused"
        )
        if name == "tempo":
            print(f"by searching in time: {searched(stack, began)}")
        sys.exit(found < sent)


if __name__ == "__main__":
    main()
