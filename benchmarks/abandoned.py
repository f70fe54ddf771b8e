"""Streams that nobody reads to their end: dropped in cycles, or their task cancelled in mid-stream.

Each kind runs with and without the instrumentation, over real HTTP and with a real receiver, in a
process of its own. Printed are the spans that arrived, and what is left behind: sockets, and
blocks and bytes of memory added in the second half. A third run forces the cyclic collector into
the SDK's locks: it finds each stream, in a cycle, while the SDK collects a metric, and besides it
runs after every allocation. The exit status is 1 where a span is missing, where something is left that the bare run
does not leave, or where a run hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
HUNG = 60  # seconds without a further hundredth of the streams
BATCH = 50
MODEL = "abandoned"


# --- The measured process ----------------------------------------------------------------------


def left_behind():
    gc.collect()
    sockets = sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket:") for fd in _descriptors())
    with Path("/proc/self/statm").open() as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {"sockets": sockets, "blocks": sys.getallocatedblocks(), "bytes": resident}


def _descriptors():
    for fd in os.listdir("/proc/self/fd"):
        if Path(f"/proc/self/fd/{fd}").is_symlink():
            yield fd


class Keeper:
    """Part of a cycle with the stream: only the collector drops it."""

    def __init__(self, stream):
        self.stream, self.cycle = stream, self


def abandon(count, asked):
    import litellm

    # Collected between the calls only: within one, the collector can close a stream while httpcore
    # holds the lock of its connection pool, and closing takes it again. The bare run hangs as well.
    gc.disable()
    for _ in range(count):
        next(Keeper(litellm.completion(**asked)).stream)
    gc.collect()


def cancel(count, asked):
    import litellm

    async def read(started):
        async for _ in await litellm.acompletion(**asked):
            started.set()

    async def main():
        started = [asyncio.Event() for _ in range(count)]
        tasks = [asyncio.create_task(read(event)) for event in started]
        for event in started:
            await event.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    return main()


def measured(kind, count, base_url, endpoint):
    asked = {"model": f"openai/{MODEL}", "messages": [{"role": "user", "content": "Go on."}], "stream": True}
    asked |= {"api_base": base_url, "api_key": "none", "max_retries": 0}
    providers = instrument(endpoint) if endpoint else ()
    marks = []

    def mark():
        for provider in providers:
            provider.force_flush()
        marks.append(left_behind())

    async def cancelled():
        for done in range(0, count, BATCH):
            faulthandler.dump_traceback_later(HUNG, exit=True)
            await cancel(BATCH, asked)
            if done + BATCH == count // 2 // BATCH * BATCH:
                mark()
        mark()

    if kind == "cancelled":
        asyncio.run(cancelled())
    else:
        for done in range(0, count, BATCH):
            faulthandler.dump_traceback_later(HUNG, exit=True)
            abandon(BATCH, asked)
            if done + BATCH == count // 2 // BATCH * BATCH:
                mark()
        mark()
    half, end = marks
    told = {"sockets": end["sockets"], "blocks": end["blocks"] - half["blocks"], "bytes": end["bytes"] - half["bytes"]}
    print(json.dumps(told), flush=True)


def instrument(endpoint):
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_tokenstream import LiteLLMInstrumentor

    tracing = TracerProvider()
    tracing.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces"), schedule_delay_millis=500, max_queue_size=20_000)
    )
    reader = InMemoryMetricReader()
    metrics = MeterProvider([reader])
    LiteLLMInstrumentor().instrument(tracer_provider=tracing, meter_provider=metrics, skip_dep_check=True)
    collect_forever(reader)
    return tracing, metrics


def collect_forever(reader):
    def collect():
        while True:
            reader.get_metrics_data()
            threading.Event().wait(0.05)

    threading.Thread(target=collect, daemon=True).start()


def letters():
    yield from "abc"


async def aletters():
    yield "a"
    await Pending()


class Pending:
    def __await__(self):
        yield


def dropped(stream):
    next(stream)
    return stream


def closed(stream):
    """A generator around the stream, which closes it on its own way out."""

    def relay():
        with contextlib.closing(stream):
            yield from stream

    around = relay()
    next(around)
    return around


def pending(stream):
    """A read that is waiting."""
    with contextlib.suppress(StopIteration):
        stream.__anext__().send(None)
    read = stream.__anext__()
    read.send(None)
    return read


LEFT = {"dropped": (dropped, letters), "closed": (closed, letters), "pending": (pending, aletters)}


def in_locks(count, kind):
    """Streams of the core alone, each collected while the SDK holds the lock of a histogram or counter."""
    from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.metrics.view import View
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    from otel_tokenstream.core.call import in_flight, stream_proxy
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.settings import Settings

    class Counting(SpanProcessor):
        ended = 0

        def on_end(self, _):
            self.ended += 1

    kept = []

    class Dropping:
        """A reservoir of exemplars, which the SDK asks while it holds its locks."""

        def __init__(self, **_):
            pass

        def offer(self, *_):
            pass

        def collect(self, _):
            if kept:
                kept.pop()
                gc.collect()
            return []

    tracing, counting, reader = TracerProvider(), Counting(), InMemoryMetricReader()
    tracing.add_span_processor(counting)
    view = View(instrument_name="*", exemplar_reservoir_factory=lambda _: Dropping)
    metrics = MeterProvider([reader], views=[view], exemplar_filter=AlwaysOnExemplarFilter())
    telemetry = Telemetry(Settings(), tracing, metrics)

    leave, source = LEFT[kind]

    def opened(source):
        call = telemetry.start(Request("chat", "scripted", "test", stream=True))
        call.read_started = 0
        return stream_proxy.proxy(source(), call, call.text)

    list(opened(letters))
    gc.collect()
    gc.freeze()
    gc.set_threshold(1, 10, 10)
    marks = []
    for number in range(0, count, BATCH):
        faulthandler.dump_traceback_later(HUNG, exit=True)
        if number == count // 2 // BATCH * BATCH:
            marks.append(left_behind())
        for _ in range(BATCH):
            kept.append(Keeper(leave(opened(source))))
        while kept:
            reader.get_metrics_data()
    in_flight.finish_dropped()
    marks.append(left_behind())
    half, end = marks
    told = {"spans": counting.ended - 1, "open": len(in_flight.snapshot()), "blocks": end["blocks"] - half["blocks"]}
    print(json.dumps(told), flush=True)


# --- The measurement -----------------------------------------------------------------------------


def run(*arguments):
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    if done.returncode:
        sys.exit(f"{arguments} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def over_http(kind, outcome, count, base_url):
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(directory) / "spans"
        receiver = subprocess.Popen(
            [sys.executable, str(HERE / "counting_receiver.py"), "--journal", str(journal)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            endpoint = receiver.stdout.readline().strip()
            ours = run("--measure", kind, count, base_url, endpoint)
        finally:
            receiver.kill()
            receiver.communicate()
        spans = [line.split() for line in journal.read_text().splitlines()]
    bare = run("--measure", kind, count, base_url, "")
    arrived = len({number for number, ended in spans if ended == outcome})
    added = {name: ours[name] - bare[name] for name in ours}
    print(
        f"{kind:9} {count} streams, {len(spans)} spans, {arrived} of them {outcome}; left behind: "
        f"{ours['sockets']} sockets (bare {bare['sockets']}); grown in the second half by "
        f"{ours['blocks']} blocks (bare {bare['blocks']}), "
        f"{ours['bytes'] / 1024:.0f} KiB (bare {bare['bytes'] / 1024:.0f})",
        flush=True,
    )
    # The receiver's connection is one socket; and a block a hundred streams is noise.
    return len(spans) == arrived == count and added["sockets"] <= 1 and added["blocks"] <= 500 + count / 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000, help=f"of each kind, a multiple of {2 * BATCH}")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--in-locks", choices=LEFT, help="only this, for streams that were left so")
    arguments = parser.parse_args()
    if arguments.measure:
        kind, count, base_url, endpoint = arguments.measure
        measured(kind, int(count), base_url, endpoint)
        return
    if arguments.in_locks:
        in_locks(arguments.streams, arguments.in_locks)
        return
    from otel_tokenstream.demo.provider import Script, ScriptedProvider

    count = arguments.streams
    good = True
    for kind in LEFT:
        found = run("--in-locks", kind, "--streams", count)
        print(
            f"collector in the SDK's locks: {count} streams {kind}, {found['spans']} spans, {found['open']} left open, "
            f"grown in the second half by {found['blocks']} blocks",
            flush=True,
        )
        good &= found["spans"] == count and found["open"] == 0 and found["blocks"] <= 500 + count / 100
    with ScriptedProvider() as provider:
        provider.scripts[MODEL] = Script(pieces=["a", "b", "c"], gap=0, ending="hang")
        for kind, outcome in (("abandoned", "abandoned"), ("cancelled", "cancelled")):
            good &= over_http(kind, outcome, count, provider.base_url)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
