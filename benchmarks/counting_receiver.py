"""An OTLP receiver over HTTP that counts, for measurements and tests that need exact numbers.

``python benchmarks/counting_receiver.py`` prints its address and serves until it is ended. GET
``/spans``, ``/metrics`` and ``/logs`` tell what came since the start, as JSON; ``/metrics`` has
the newest value of each cumulative series. With ``--journal FILE`` each span is a line in the
file before it is acknowledged, so that a receiver that is killed has lost none.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import time

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

INSTANCE = "service.instance.id"


def plain(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes}


def simple(attributes):
    return {key: value for key, value in plain(attributes).items() if isinstance(value, (str, int, float, bool))}


def instance(resource):
    return plain(resource.attributes).get(INSTANCE, "")


class Counts:
    def __init__(self, journal):
        self.spans, self.metrics, self.logs = [], {}, []
        self._journal = journal

    def take_spans(self, request):
        for resource in request.resource_spans:
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                told = {
                    "id": span.span_id.hex(),
                    "name": span.name,
                    "instance": instance(resource.resource),
                    "attributes": simple(span.attributes),
                    "links": [link.span_id.hex() for link in span.links],
                }
                if self._journal is None:
                    self.spans.append(told)
                else:
                    self._journal.write(f"{told['id']} {told['attributes'].get('tokenstream.outcome')}\n")
        if self._journal is not None:
            self._journal.flush()

    def take_metrics(self, request):
        for resource in request.resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    told = {
                        "name": metric.name,
                        "instance": instance(resource.resource),
                        "attributes": simple(point.attributes),
                    }
                    key = json.dumps(told, sort_keys=True)
                    if hasattr(point, "count"):
                        told |= {"count": point.count, "sum": point.sum}
                    else:
                        told["value"] = getattr(point, point.WhichOneof("value"))
                        told["highest"] = max(told["value"], self.metrics.get(key, told).get("highest", 0))
                    self.metrics[key] = told

    def take_logs(self, request):
        for resource in request.resource_logs:
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                told = {"event": record.event_name, "at": record.time_unix_nano, "received": time.time_ns()}
                self.logs.append({**told, "attributes": simple(record.attributes)})


def application(counts):
    def receiving(kind, take):
        async def receive(request):
            body = await request.read()
            if body[:2] == b"\x1f\x8b":
                body = gzip.decompress(body)
            take(kind.FromString(body))
            return web.Response(body=b"", content_type="application/x-protobuf")

        return receive

    def telling(what):
        async def tell(_):
            return web.json_response(what())

        return tell

    app = web.Application(client_max_size=1 << 28)
    app.add_routes(
        [
            web.post("/v1/traces", receiving(ExportTraceServiceRequest, counts.take_spans)),
            web.post("/v1/metrics", receiving(ExportMetricsServiceRequest, counts.take_metrics)),
            web.post("/v1/logs", receiving(ExportLogsServiceRequest, counts.take_logs)),
            web.get("/spans", telling(lambda: counts.spans)),
            web.get("/metrics", telling(lambda: list(counts.metrics.values()))),
            web.get("/logs", telling(lambda: counts.logs)),
        ]
    )
    return app


async def serve(port, journal):
    runner = web.AppRunner(application(Counts(journal)), access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--journal", type=argparse.FileType("a"), help="file to which spans are appended")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.port, arguments.journal))


if __name__ == "__main__":
    main()
