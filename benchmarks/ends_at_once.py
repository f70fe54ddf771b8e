"""The slowest block of an event loop while many streams end at once, beside the same streams uninstrumented.

All streams wait for their end in one loop, which then goes through the ends before it does anything
else; a callback that runs in each of its rounds has the longest time between two of them. Spans and
metrics have the processors and readers of a program, without an exporter behind them. ``--package`` names a
folder that has another version of this package; versions take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time

STREAMS = 200
CHUNKS = 100


class Waiting:
    """Prebuilt chunks whose end comes when it is let."""

    def __init__(self, chunks, end):
        self._chunks, self._end = iter(chunks), end

    def __aiter__(self):
        return self

    async def __anext__(self):
        chunk = next(self._chunks, None)
        if chunk is None:
            await self._end.wait()
            raise StopAsyncIteration
        return chunk


async def read(stream):
    async for _ in stream:
        pass


async def longest_block(wrap, made):
    """Return the longest time in ms between two rounds of the loop while all streams end."""
    loop, end, ended = asyncio.get_running_loop(), asyncio.Event(), False
    reading = [asyncio.create_task(read(wrap(Waiting(made, end)))) for _ in range(STREAMS)]
    await asyncio.sleep(1)
    longest = 0.0
    last = time.perf_counter()

    def look():
        nonlocal last, longest
        at = time.perf_counter()
        longest, last = max(longest, at - last), at
        if not ended:
            loop.call_soon(look)

    loop.call_soon(look)
    end.set()
    await asyncio.gather(*reading)
    ended = True
    return longest * 1e3


def measure(arrangement, rounds):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from prebuilt import chunks

    from otel_tokenstream.core.call import stream_proxy
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.chat import reader
    from otel_tokenstream.settings import Settings

    class Nowhere(SpanExporter):
        def export(self, _):
            return SpanExportResult.SUCCESS

    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(Nowhere(), schedule_delay_millis=60_000))
    telemetry = Telemetry(Settings(), tracing, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))

    def wrap(source):
        if arrangement == "bare":
            return source
        call = telemetry.start(Request("chat", "openai", "bench", stream=True))
        return stream_proxy.proxy(source, call, reader(call))

    made = chunks(CHUNKS)
    gc.disable()  # the program's own collections are not the ends' cost
    for _ in range(rounds):
        print(asyncio.run(longest_block(wrap, made)), flush=True)
        tracing.force_flush()
        gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--package", action="append")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.rounds)
        return
    compared = [("bare", ""), *(("ours", package) for package in arguments.package or [""])]
    blocks = {each: [] for each in compared}
    for _ in range(2):
        for arrangement, package in compared:
            command = [sys.executable, __file__, "--measure", arrangement, "--rounds", str(arguments.rounds)]
            environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
            if package:
                environment["PYTHONPATH"] = package
            made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            blocks[arrangement, package] += map(float, made.split())
    print(f"Longest block of the loop while {STREAMS} streams of {CHUNKS} chunks end at once")
    for (arrangement, package), longest in blocks.items():
        print(f"{arrangement} {package:40} {statistics.median(longest):6.1f} ms (least {min(longest):.1f})")


if __name__ == "__main__":
    main()
