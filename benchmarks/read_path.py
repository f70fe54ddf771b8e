"""Cost added to each read of a stream, beside the same loop uninstrumented, in one run.

Chunks are real litellm objects made beforehand, so that the loop itself costs next to nothing
and what is measured is ours. Rounds alternate between bare and instrumented, in CPU time of the
thread, so that a busy machine disturbs less; medians are over rounds. The cost off the read
path, the histogram records while metrics are collected, is measured apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import time

from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_tokenstream.core import streams
from otel_tokenstream.core.generation import Request
from otel_tokenstream.core.telemetry import Telemetry
from otel_tokenstream.fields import parser_for
from otel_tokenstream.patches.litellm import _reader
from otel_tokenstream.settings import Settings

REPEAT = 20

TEXT = "[[ ## reasoning ## ]]\n" + "one two three four five " * 200 + "\n\n[[ ## answer ## ]]\n" + "six seven " * 500


class Source:
    """A stream of prebuilt chunks, iterable both ways, like litellm's."""

    def __init__(self, chunks):
        # The same few chunks again and again: a chunk that was just made is in the cache.
        *again, last = chunks
        self._chunks = itertools.chain(*itertools.repeat(again, REPEAT), (last,))

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


def chunks(count):
    pieces = [TEXT[i * 4 % len(TEXT) :][:4] for i in range(count)]
    made = [ModelResponseStream(choices=[StreamingChoices(index=0, delta=Delta(content=p))]) for p in pieces[:-1]]
    return [*made, ModelResponseStream(choices=[StreamingChoices(index=0, delta=Delta(), finish_reason="stop")])]


def drain(source):
    started = time.thread_time()
    for _ in source:
        pass
    return time.thread_time() - started


def adrain(source):
    async def run():
        started = time.thread_time()
        async for _ in source:
            pass
        return time.thread_time() - started

    return asyncio.run(run())


def instrumented(telemetry, made, *, fields=False):
    call = telemetry.start(Request("chat", "openai", "bench", stream=True))
    if fields and call.observed:
        call.parser = parser_for("chat", ("reasoning", "answer"))
    call.asked = 0
    read = _reader(call) if call.observed else None
    return streams.proxy(Source(made), call, read, None)


def compare(name, telemetry, made, rounds, *, fields=False, loop=drain):
    added = []
    for _ in range(rounds):
        bare = loop(Source(made))
        ours = loop(instrumented(telemetry, made, fields=fields))
        added.append((ours - bare) / (len(made) * REPEAT) * 1e6)
    print(f"{name:58s} {statistics.median(added):6.2f} us  (min {min(added):.2f}, max {max(added):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    made = chunks(options.chunks)
    reader = InMemoryMetricReader()
    full = Telemetry(Settings(), TracerProvider(), MeterProvider([reader]))
    metrics_only = Telemetry(Settings(), TracerProvider(sampler=ALWAYS_OFF), MeterProvider([InMemoryMetricReader()]))
    nothing = Telemetry(Settings(), TracerProvider(sampler=ALWAYS_OFF))
    print(f"Added to a read, {options.chunks} chunks a stream, median of {options.rounds} rounds")
    for kind, loop in (("sync", drain), ("async", adrain)):
        compare(f"{kind}: span, events, all metrics", full, made, options.rounds, loop=loop)
        compare(f"{kind}: the same with field parsing", full, made, options.rounds, fields=True, loop=loop)
        compare(f"{kind}: unsampled, all metrics", metrics_only, made, options.rounds, loop=loop)
        compare(f"{kind}: unsampled, no meter provider", nothing, made, options.rounds, loop=loop)
    cpu = time.process_time()
    full.instruments.backlog.drain(within=600, pausing=False)
    records = 4 * options.rounds * options.chunks * REPEAT
    print(f"Off the read path, a chunk's histogram record: {(time.process_time() - cpu) / records * 1e6:.1f} us of CPU")
    for count in (1_000, 100_000):
        longest(full, chunks(count))


def longest(telemetry, made):
    """The slowest single read and the end, against the same in a bare loop."""
    slowest, source = 0.0, instrumented(telemetry, made)
    for _ in range(len(made)):
        started = time.perf_counter()
        next(source)
        slowest = max(slowest, time.perf_counter() - started)
    started = time.perf_counter()
    with contextlib.suppress(StopIteration):
        next(source)
    end = time.perf_counter() - started
    print(f"{len(made)} chunks: slowest read {slowest * 1e3:.2f} ms, end {end * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
