"""Streams a second the stack takes on one machine until something is lost, and what is lost first.

    python benchmarks/stack_load.py [--seconds 10]

Needs the components of tests/stack and a Tempo server. A stream is a generation span of 500 tokens as the
instrumentation sends it, in batches of 512 by gRPC, and its share of log records (--records, 30), by HTTP.
Batches are sent on time, up to 16 at once, whether the ones before were taken or not, as many applications
would. The Collector runs with the layers of docker-compose.yml and its limit of memory; everything, the
sender included, shares this machine's cores, and the sender stops by itself at the first loss.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import grpc  # noqa: E402
import requests  # noqa: E402
import stack_bytes  # noqa: E402
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_otlp  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from otel_tokenstream import LiteLLMInstrumentor, signals  # noqa: E402
from otel_tokenstream.demo.children import Children  # noqa: E402
from otel_tokenstream.demo.provider import ScriptedProvider  # noqa: E402
from tests.stack import servers  # noqa: E402
from tests.stack.ask import get, logql, promql  # noqa: E402

RATES = (50, 100, 200, 400, 800, 1600, 3200)
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# The container's limit, which percentages of this machine's memory would not give.
LIMITED = "processors: {memory_limiter: {limit_mib: 410, spike_limit_mib: 100}}\n"
COUNTERS = {
    "refused": "otelcol_receiver_refused_(spans|log_records)_total",
    "not queued": "otelcol_exporter_enqueue_failed_(spans|log_records)_total",
    "not sent": "otelcol_exporter_send_failed_(spans|log_records)_total",
    "Tempo discarded": "tempo_discarded_spans_total",
    "Loki discarded": "loki_discarded_samples_total",
}


def logs_message(records):
    message = logs_otlp.ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "load"
    scope = resource.scope_logs.add()
    for number in range(records):
        record = scope.log_records.add(
            time_unix_nano=time.time_ns() + number,
            trace_id=os.urandom(16),
            span_id=os.urandom(8),
            event_name=signals.TOKEN_EVENT,
        )
        for name in signals.EVENTS[signals.TOKEN_EVENT].attributes[:5]:
            record.attributes.add(key=name).value.int_value = number * 1000
    return message.SerializeToString()


class Sender:
    """Sends batches at a rate for some seconds; counts what it was refused."""

    def __init__(self, collector, span, records):
        # Without serializers: messages are bytes that were made before.
        self._export = grpc.insecure_channel(collector.grpc).unary_unary(EXPORT)
        self._logs = f"{collector.http}/v1/logs"
        self._span, self._records = span, records
        self.errors, self.records = {}, 0

    def run(self, rate, seconds):
        batches = max(1, round(rate * seconds / stack_bytes.BATCH))
        prepared = [stack_bytes.batch(self._span, stack_bytes.BATCH).SerializeToString() for _ in range(batches)]
        self.errors = {}
        records = threading.Thread(target=self._send_records, args=(rate, seconds))
        started = time.monotonic()
        records.start()
        with ThreadPoolExecutor(16) as at_once:
            for number, message in enumerate(prepared):
                time.sleep(max(0, started + number * seconds / batches - time.monotonic()))
                at_once.submit(self._send, message)
        records.join()
        return batches * stack_bytes.BATCH, time.monotonic() - started

    def _send(self, message):
        try:
            self._export(message, timeout=30)
        except grpc.RpcError as error:
            self._failed(f"batches of spans {error.code().name}: {error.details()[:80]}")

    def _send_records(self, rate, seconds):
        each = 512
        number = round(rate * self._records * seconds / each)
        started, session = time.monotonic(), requests.Session()
        for index in range(number):
            time.sleep(max(0, started + index * seconds / number - time.monotonic()))
            if time.monotonic() - started > 3 * seconds:
                self._failed("log records: the sender fell behind")
                return
            answer = session.post(
                self._logs, logs_message(each), headers={"Content-Type": "application/x-protobuf"}, timeout=30
            )
            self.records += each
            if answer.status_code != 200:
                self._failed(f"log records {answer.status_code}")

    def _failed(self, what):
        self.errors[what] = self.errors.get(what, 0) + 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--records", type=int, default=30)
    parser.add_argument("--rates", type=int, nargs="+", default=RATES)
    arguments = parser.parse_args()
    exporter, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    LiteLLMInstrumentor().instrument(tracer_provider=tracers)
    with ScriptedProvider() as provider:
        span = stack_bytes.one_span(provider, 500, exporter)
    with tempfile.TemporaryDirectory() as directory, Children(Path(directory)) as children:
        stack = servers.Stack(Path(directory), children)
        stack.start()
        limit = Path(directory) / "limit.yaml"
        limit.write_text(LIMITED)
        layers = [servers.LAYERS / name for name in servers.compose_layers()]
        collector = stack.collector("limited", *layers, limit, environment={"GOMEMLIMIT": "410MiB"})
        sender = Sender(collector, span, arguments.records)
        print("streams/s  sent  took s  Collector RSS MB  in Tempo  lost")
        expected, began = 0, time.time()
        for rate in arguments.rates:
            sent, took = sender.run(rate, arguments.seconds)
            expected += sent
            received = _settled(lambda: _spans_received(stack), expected)
            records = _settled(lambda: _records_held(stack, began), sender.records)
            time.sleep(10)  # until Prometheus has the counters of all
            lost = {name: found for name, text in COUNTERS.items() if (found := _losses(stack, text))}
            rss = int(Path(f"/proc/{collector.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6
            missing = expected - received
            measured = f"{rate:9} {sent:6} {took:6.1f} {rss:10.0f} {received:14.0f}"
            print(
                f"{measured}  {lost} {sender.errors} missing {missing} spans, {sender.records - records} records",
                flush=True,
            )
            if lost or sender.errors or missing > 0:
                break


def _settled(count, expected):
    """Return the count when it is what is expected, or when it has not grown for 15 s."""
    found, since = -1, time.monotonic()
    while found < expected and time.monotonic() - since < 15:
        time.sleep(0.5)
        now = count()
        if now > found:
            found, since = now, time.monotonic()
    return found


def _spans_received(stack):
    metrics = get(f"{stack.url('tempo')}/metrics").text
    return round(_counter(metrics, "tempo_distributor_spans_received_total"))


def _records_held(stack, began):
    found = logql(stack.url("loki"), 'sum(count_over_time({service_name="load"}[1h]))', began, "query")
    return sum(int(each["value"][1]) for each in found)


def _losses(stack, text):
    """Return what a counter says by reason or place, where it says anything."""
    found = promql(stack.url("prometheus"), f'{{__name__=~"{text}"}} > 0')
    return {labels.get("reason") or labels.get("exporter") or labels["transport"]: value for labels, value in found}


def _counter(text, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


if __name__ == "__main__":
    main()
