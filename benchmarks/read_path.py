"""Cost added to each read of a stream, beside the same loop uninstrumented, in one run.

In CPU time of the thread, so that a busy machine disturbs less; medians are over rounds. The
cost off the read path, the histogram records while metrics are collected, is measured apart.
"""

from __future__ import annotations

import argparse
import contextlib
import time

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prebuilt import REPEAT, Source, adrain, chunks, compare, drain

from otel_tokenstream.core.call import stream_proxy
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.fields import parser_for
from otel_tokenstream.patches.litellm.apis.chat import reader
from otel_tokenstream.settings import Settings


def instrument(telemetry, *, fields=False):
    def wrap(source):
        call = telemetry.start(Request("chat", "openai", "bench", stream=True))
        if fields and call.observed:
            call.parser = parser_for("chat", ("reasoning", "answer"))
        call.read_started = 0
        return stream_proxy.proxy(source, call, reader(call) if call.observed else None)

    return wrap


def longest(telemetry, made):
    """Print the slowest single read and the end, the work the collector does for others taken out."""
    source = instrument(telemetry)(Source(made))
    slowest = 0.0
    for _ in range((len(made) - 1) * REPEAT + 1):
        started = time.thread_time()
        next(source)
        slowest = max(slowest, time.thread_time() - started)
    started = time.thread_time()
    with contextlib.suppress(StopIteration):
        next(source)
    end = time.thread_time() - started
    print(f"{(len(made) - 1) * REPEAT + 1} chunks: slowest read {slowest * 1e3:.2f} ms, end {end * 1e3:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    made = chunks(options.chunks)
    full = Telemetry(Settings(), TracerProvider(), MeterProvider([InMemoryMetricReader()]))
    metrics_only = Telemetry(Settings(), TracerProvider(sampler=ALWAYS_OFF), MeterProvider([InMemoryMetricReader()]))
    nothing = Telemetry(Settings(), TracerProvider(sampler=ALWAYS_OFF))
    print(f"Added to a read, {options.chunks * REPEAT} chunks a stream, median of {options.rounds} rounds")
    for kind, loop in (("sync", drain), ("async", adrain)):
        compare(f"{kind}: span, events, all metrics", instrument(full), made, options.rounds, loop)
        compare(f"{kind}: the same with field parsing", instrument(full, fields=True), made, options.rounds, loop)
        compare(f"{kind}: unsampled, all metrics", instrument(metrics_only), made, options.rounds, loop)
        compare(f"{kind}: unsampled, no meter provider", instrument(nothing), made, options.rounds, loop)
    cpu = time.process_time()
    full.instruments.gap_queue.drain(within=600, pausing=False)
    records = 4 * options.rounds * options.chunks * REPEAT
    print(f"Off the read path, one histogram record a chunk: {(time.process_time() - cpu) / records * 1e6:.1f} us")
    for count in (50, 5_000):
        longest(full, chunks(count + 1))


if __name__ == "__main__":
    main()
