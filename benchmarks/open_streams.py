"""Memory of open streams: the SDK's span alone, with this package before the first chunk, and after so many chunks.

Chunks are prebuilt ones of litellm's, with gaps of 15 ms in the median that spread over some seven factors of
two. Bytes as tracemalloc counts them, a stream; the chunks themselves are not among them.
"""

from __future__ import annotations

import argparse
import random
import tracemalloc

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prebuilt import chunks

from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.emit import span_data
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.patches.litellm.apis.chat import reader
from otel_tokenstream.settings import Settings

REQUEST = Request("chat", "openai", "bench", stream=True)


def opened(telemetry):
    call = telemetry.start(REQUEST)
    call.opened = call.started + 1
    return call, reader(call)


def feed(call, read, made, spread):
    at = call.opened
    for chunk in made:
        wait = round(spread.lognormvariate(0, 0.6) * 12e6)
        at += wait + 3_000_000
        read(at - wait, at, chunk)


def traced():
    return tracemalloc.get_traced_memory()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, nargs="*", default=[30, 100, 1_000, 10_000])
    parser.add_argument("--streams", type=int, default=300)
    options = parser.parse_args()
    tracing = TracerProvider(shutdown_on_exit=False)
    telemetry = Telemetry(Settings(), tracing, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    about, tracer = span_data.request_attributes(REQUEST), tracing.get_tracer("bare")
    for count in options.chunks:
        made, spread = chunks(count), random.Random(1)
        for _ in range(5):  # what the first streams load is not theirs
            feed(*opened(telemetry), made[:-1], spread)
        tracemalloc.start()
        before = traced()
        spans = [tracer.start_span("chat bench", attributes=about) for _ in range(options.streams)]
        with_spans = traced()
        streams = [opened(telemetry) for _ in range(options.streams)]
        with_streams = traced()
        for stream in streams:
            feed(*stream, made[:-1], spread)
        full = traced() - with_spans
        tracemalloc.stop()
        told = (with_spans - before, with_streams - with_spans, full)
        span, begun, fed = (round(bytes_ / len(spans)) for bytes_ in told)
        print(f"{count} chunks: the SDK's span {span}, open {begun}, open and fed {fed} bytes", flush=True)
        for call, _ in streams:
            call.end("closed")


if __name__ == "__main__":
    main()
