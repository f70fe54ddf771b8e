"""Cost of a call's start and of its end on the caller's thread, by part, and of its gaps off that thread.

CPU time of the thread, medians. Streams are prebuilt litellm chunks that are read to their end.
"""

from __future__ import annotations

import argparse
import statistics
import time

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prebuilt import chunks

from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.recorder import Recorder
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.patches.litellm.apis.chat import reader
from otel_tokenstream.settings import Settings

PARTS = ("_write_outcome", "_write_span", "_write_content", "_end_span", "_record_metrics")


def timed(taken: dict[str, list[float]], name: str, function):
    def call(*args, **options):
        started = time.thread_time_ns()
        try:
            return function(*args, **options)
        finally:
            taken.setdefault(name, []).append((time.thread_time_ns() - started) / 1e3)

    return call


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    telemetry = Telemetry(Settings(), tracer_provider, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    made = chunks(options.chunks)
    request = Request("chat", "openai", "bench", stream=True)
    taken: dict[str, list[float]] = {}
    tracer = tracer_provider.get_tracer("bare")
    start, span_start = timed(taken, "start", telemetry.start), timed(taken, "the SDK's span start", tracer.start_span)
    for part in PARTS:
        setattr(Recorder, part, timed(taken, part, getattr(Recorder, part)))
    for _ in range(options.rounds):
        span_start("chat bench", attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "bench"})
        call = start(request)
        read, at = reader(call), time.perf_counter_ns()
        for number, chunk in enumerate(made):
            read(at + number * 20_000_000, at + number * 20_000_000 + 15_000_000, chunk)
        timed(taken, "end", call.end)("completed")
    cpu = time.thread_time_ns()
    telemetry.instruments.gap_queue.drain(within=600, pausing=False)
    gaps = options.rounds * (len(made) - 1)
    print(f"{len(made)} chunks, median of {options.rounds} streams, CPU of the thread")
    for name, values in taken.items():
        print(f"{name:24} {statistics.median(values):8.1f} us")
    print(f"{'a gap, off the thread':24} {(time.thread_time_ns() - cpu) / gaps / 1e3:8.2f} us")


if __name__ == "__main__":
    main()
