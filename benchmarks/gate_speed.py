"""How long ``otel-tokenstream gate`` takes for 10,000 streams against as many: the whole command, recordings read."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tokenstream import signals
from otel_tokenstream.viewer import running

LIMITS = """
[[budget]]
first_token_p95 = "2.5 s"
stalled_share = "1 %"
goodput = { at_least = "95 %", first_token = "2 s", duration = "20 s" }
[[regression]]
first_token_p50 = "10 %"
first_token_p95 = "10 %"
duration_p95 = "10 %"
failed_share = "1 %"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    streams = parser.parse_args().streams
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "tokenstream-gate.toml").write_text(LIMITS, encoding="utf-8")
        for seed, side in enumerate(("old", "new")):
            record(directory / f"{side}.db", streams, random.Random(seed))
        command = [sys.executable, "-m", "otel_tokenstream.cli"]
        print(f"interpreter and imports: {timed([*command, 'gate', '--help'], directory):.2f} s")
        took = timed([*command, "gate", "new.db", "--baseline", "old.db"], directory)
        print(f"{streams} streams against {streams}: {took:.2f} s")


def record(database, streams, chance):
    """Write spans as the instrumentation does, with the attributes that the gate reads."""
    with running(database=database) as viewer:
        provider = TracerProvider(resource=Resource.create({"service.name": "asking"}))
        exporter = OTLPSpanExporter(f"{viewer.url}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=max(streams, 512)))
        tracer = provider.get_tracer(signals.SCOPE)
        for number in range(streams):
            first = 400 * chance.lognormvariate(0, 0.4)
            start = 1_750_000_000_000_000_000 + number * 100_000_000
            attributes = {
                signals.OPERATION_NAME: "chat",
                signals.REQUEST_MODEL: "gpt-4o",
                signals.REQUEST_STREAM: True,
                signals.OUTCOME: "completed",
                signals.CHUNKS: 50,
                signals.TIME_TO_FIRST_TOKEN_MS: round(first),
                signals.STALL_COUNT: 0,
            }
            tracer.start_span("chat gpt-4o", attributes=attributes, start_time=start).end(
                start + round((first + 1_000) * 1e6)
            )
        provider.shutdown()


def timed(command, directory):
    began = time.perf_counter()
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    assert done.returncode in (0, 1, 3), done.stderr
    print(done.stdout if "--help" not in command else "", end="")
    return took


if __name__ == "__main__":
    main()
