"""The on-call walk: inject each fault into the real stack and take the pictures of docs/oncall.md.

    python -m tests.dashboards_harness.walk [--to docs/images/oncall]

Five programs stream under opentelemetry-instrument with nothing set but where to send, so that metrics
come every 60 s. After four quiet minutes four of them go wrong, each in its way; later Loki is stopped
until the Collector's queue is full. Takes half an hour.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import requests
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_tokenstream.demo.children import Children, end
from tests.dashboards_harness.asking import Asking
from tests.dashboards_harness.drawing import drawing
from tests.stack import ask
from tests.stack.plain_programs import start
from tests.stack.servers import LAYERS, Stack, compose_layers, wait_until

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HEALTHY = 150
SERVICES = {"search": "late", "chat": "stalling", "mail": "failing", "reports": "slow_consumer", "docs": "healthy"}
ALERTS = {"search": "FirstTokenBudgetBurnFast", "chat": "StreamsStalledNow", "mail": "StreamErrorRatio"}
# Small enough to be full within minutes.
QUEUE_BYTES = 1_600_000
# Where there is no Tempo, spans have no place to go, and that is no fault of this walk's.
NO_TEMPO = """
exporters: {debug/nowhere: {verbosity: basic}}
service: {pipelines: {traces: {exporters: [debug/nowhere]}}}
"""


class Walk:
    """The stack, the programs, and a camera."""

    def __init__(self, stack, camera, to):
        self.stack, self.camera, self.to = stack, camera, to
        self.times = {}

    def alerts(self):
        return {which for which, state in ask.alerts(self.stack.url("prometheus")).items() if state == "firing"}

    def picture(self, name, page, *, panel=None, rows=None, minutes=20, at=None, **variables):
        """Draw a dashboard as it is now; of ``panel``, only that."""
        dashboard = json.loads((ROOT / "grafana" / "dashboards" / f"{page}.json").read_text())
        values = defaults(dashboard) | variables
        now = at or time.time()
        asking = Asking(
            self.stack.url("prometheus"),
            now - minutes * 60,
            now,
            loki=self.stack.url("loki"),
            tempo=self.stack.url("tempo"),
            variables=values,
        )
        drawn = {"start": asking.start, "end": asking.end, "variables": values, "rows": rows}
        answers = asking.dashboard(dashboard)
        self.camera.draw(dashboard, answers, **drawn)
        if panel:
            self.camera.panel_picture(panel, self.to / f"{name}.png")
        else:
            self.camera.picture(self.to / f"{name}.png")
        return answers


def defaults(dashboard):
    """Return the variables' values on opening."""
    return {
        v["name"]: v.get("allValue") or v.get("current", {}).get("value", "")
        for v in dashboard["templating"]["list"]
        if v["type"] != "datasource"
    }


def walk(stack, camera, to, directory, parts):
    at = Walk(stack, camera, to)
    layers = [LAYERS / name for name in compose_layers()]
    if not stack.has_tempo:
        (directory / "no-tempo.yaml").write_text(NO_TEMPO)
        layers.append(directory / "no-tempo.yaml")
    endpoint = stack.collector("walk", *layers, environment={"OTELCOL_QUEUE_BYTES": str(QUEUE_BYTES)}).http
    running = [
        start(directory, endpoint, service, f"healthy={HEALTHY}", f"{fault}=1800")
        for service, fault in SERVICES.items()
    ]
    try:
        logs = {service: directory / f"program-{service}.log" for service in SERVICES}
        began = {
            service: wait_until(partial(begin, logs[service], "healthy"), 300, what=f"{service} to stream")
            for service in SERVICES
        }
        if "streams" in parts:
            time.sleep(max(0, min(began.values()) + HEALTHY - 10 - time.time()))
            at.picture("calm", "overview", minutes=5)
            print("calm: firing", sorted(at.alerts() - {("Watchdog", "")}), flush=True)
            faulty = {each: wait_until(partial(begin, logs[each], SERVICES[each]), 60, what=each) for each in ALERTS}
            streams(at, faulty)
        else:
            time.sleep(60)
        if "backends" in parts:
            backends(at, stack, endpoint)
    finally:
        for each in running:
            each.terminate()
        for each in running:
            end(each)


def begin(log, behaviour):
    """Return when a program began to behave so, or None."""
    lines = [line.split() for line in log.read_text().splitlines()]
    return next((float(words[1]) for words in lines if len(words) == 2 and words[0] == behaviour), None)


def streams(at, faulty):
    """Wait for the alerts, then take the pictures of what names each cause; ``faulty`` says when each went wrong."""
    waiting = dict(ALERTS)
    while waiting and time.time() < max(faulty.values()) + 720:
        for service in [each for each, alert in waiting.items() if (alert, each) in at.alerts()]:
            print(f"{waiting.pop(service)} for {service} after {time.time() - faulty[service]:.0f} s", flush=True)
        time.sleep(3)
    print("never:", waiting, "; firing:", sorted(at.alerts()), flush=True)
    time.sleep(30)
    at.picture("firing", "overview")
    pages(at)


def pages(at):
    """The pages and panels that name each cause."""
    at.picture("late-service", "service", service="search")
    at.picture("late-panel", "service", panel="First token p95 by model", service="search")
    at.picture("stalled-service", "service", service="chat", model="claude")
    at.picture("stalled-panel", "service", panel="Open and stalled", rows=["Stalls and outcomes"], service="chat")
    at.picture("failing-service", "service", service="mail")
    at.picture("failing-panel", "service", panel="Errors by model and class", service="mail")
    at.picture("slow-service", "service", service="reports", model="claude")
    slow = "Longest wait and gap of a stream p95"
    at.picture("slow-panel", "service", panel=slow, service="reports", model="claude")
    for name in ("First token", "Pace", "Stalls and outcomes"):
        at.picture(f"rows-{name.lower().replace(' ', '-')}", "service", rows=[name])
    at.picture("rows-models", "overview", rows=["Models", "Usage and cost"])
    at.picture("compare", "compare", a="claude", b="gpt-4o", least="10", minutes=10)
    if at.stack.has_tempo:
        at.picture("rows-streams", "service", rows=["Streams to look at"])
        query = '{ resource.service.name = "chat" && span.tokenstream.stall.count > 0 }'
        found = ask.traceql(at.stack.url("tempo"), query, time.time() - 900)
        if found:
            at.picture("stream", "stream", trace=found[0]["traceID"], service="chat", minutes=10)


def log_records(endpoint, stop):
    """Send log records without end, 50 a second: a queue must fill within minutes."""
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "docs"
    scope = resource.scope_logs.add()
    for _ in range(50):
        scope.log_records.add().body.string_value = os.urandom(20).hex()
    while not stop.wait(1):
        for record in scope.log_records:
            record.time_unix_nano = time.time_ns()
        body, headers = message.SerializeToString(), {"Content-Type": "application/x-protobuf"}
        with contextlib.suppress(requests.RequestException):
            requests.post(f"{endpoint}/v1/logs", data=body, headers=headers, timeout=20)


def backends(at, stack, endpoint):
    """Stop Loki: first the alert, then the full queue."""
    stopped, done = time.time(), threading.Event()
    end(stack.processes["loki"])
    threading.Thread(target=log_records, args=(endpoint, done), daemon=True).start()
    try:
        dead_and_full(at, stack, stopped)
    finally:
        done.set()


def dead_and_full(at, stack, stopped):
    wait_until(lambda: ("BackendDown", "loki") in at.alerts(), 240, what="BackendDown")
    print(f"BackendDown after {time.time() - stopped:.0f} s", flush=True)
    at.picture("dead-overview", "overview")
    at.picture("dead-health", "health")
    at.picture("dead-panel", "health", panel="Back ends")
    wait_until(lambda: any(name == "CollectorQueueNearlyFull" for name, _ in at.alerts()), 600, what="a full queue")
    print(f"CollectorQueueNearlyFull after {time.time() - stopped:.0f} s", flush=True)
    lost = "sum(increase(otelcol_exporter_enqueue_failed_log_records_total[5m])) > 0"
    wait_until(lambda: ask.promql(stack.url("prometheus"), lost), 300, what="records that found the queue full")
    print(f"first loss counted after {time.time() - stopped:.0f} s", flush=True)
    time.sleep(60)
    at.picture("full-overview", "overview")
    at.picture("full-health", "health")
    at.picture("full-panel", "health", panel="Queues of the Collector")
    at.picture("rows-health", "health", rows=["Instrumentation", "Collector, Tempo and Prometheus"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images" / "oncall")
    parser.add_argument("--only", choices=("streams", "backends"))
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    parts = [arguments.only] if arguments.only else ["streams", "backends"]
    with tempfile.TemporaryDirectory() as name, Children(Path(name)) as children, drawing() as camera:
        stack = Stack(Path(name), children)
        stack.start()
        walk(stack, camera, arguments.to, Path(name), parts)


if __name__ == "__main__":
    main()
