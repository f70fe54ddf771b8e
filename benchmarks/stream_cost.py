"""CPU that whole streams cost the process, everything on, beside the same program uninstrumented and beside peers.

Streams are started at a rate and read in one event loop. Spans with their events and metrics, which
are collected every 5 s, go by OTLP to a counting receiver in another process; a run is over when
all is sent. Each run is a process of its own; runs take the arrangements in turns, and the printed
figures are medians, in us of CPU a stream beside the uninstrumented runs.

``ours`` is taken from the folder that ``--package`` names, as often as it is given: one version
beside another. Peers need openinference-instrumentation-litellm and opentelemetry-util-genai.
``engine`` streams from DSPy's own engine, which no peer sees.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
COLLECTED_EVERY = 5_000  # ms
PARTS = ("start", "end", "collection", "metric export", "span export")
PEERS = ("util-genai", "openinference")
# chunks of a stream: (streams, streams started in a second)
PREBUILT = {10: (600, 120), 30: (600, 120), 100: (400, 80), 1_000: (60, 12)}
LIBRARY = {10: (60, 12), 30: (40, 8), 100: (20, 4), 1_000: (3, 0.5)}


# --- The measured process ------------------------------------------------------------------------


class Parts:
    """CPU time of functions by part, each in the thread that calls it."""

    def __init__(self):
        self.taken = Counter()

    def time(self, holder, name, part, *, also=None):
        function = getattr(holder, name)

        def call(*args, **options):
            started = time.thread_time_ns()
            try:
                return function(*args, **options)
            finally:
                spent = time.thread_time_ns() - started
                self.taken[part] += spent
                if also is not None:
                    self.taken[also] -= spent

        setattr(holder, name, call)


def providers(endpoint, parts):
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    spans = OTLPSpanExporter(f"{endpoint}/v1/traces")
    metrics = OTLPMetricExporter(f"{endpoint}/v1/metrics")
    reader = PeriodicExportingMetricReader(metrics, export_interval_millis=COLLECTED_EVERY)
    if parts is not None:
        parts.time(spans, "export", "span export")
        parts.time(metrics, "export", "metric export", also="collection")
        parts.time(reader, "collect", "collection")
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(spans))
    return tracing, MeterProvider([reader], shutdown_on_exit=False)


class Paced:
    """Prebuilt chunks that come one after the other, each after a pause."""

    def __init__(self, chunks, pause):
        self._chunks, self._pause = iter(chunks), pause

    def __aiter__(self):
        return self

    async def __anext__(self):
        chunk = next(self._chunks, None)
        if chunk is None:
            raise StopAsyncIteration
        await asyncio.sleep(self._pause)
        return chunk


def prebuilt_opener(arrangement, tracing, metering):
    """Return what opens a stream of so many chunks."""
    from prebuilt import chunks

    made = {count: chunks(count) for count in PREBUILT}
    if arrangement == "bare":

        def wrap(source):
            return source
    elif arrangement == "ours":
        from otel_tokenstream.core.call import stream_proxy
        from otel_tokenstream.core.call.request import Request
        from otel_tokenstream.core.emit.telemetry import Telemetry
        from otel_tokenstream.patches.litellm.apis.chat import reader
        from otel_tokenstream.settings import Settings

        telemetry = Telemetry(Settings(), tracing, metering)

        def wrap(source):
            call = telemetry.start(Request("chat", "openai", "bench", stream=True))
            return stream_proxy.proxy(source, call, reader(call))
    else:
        from peers import openinference, util_genai

        wrap = {"util-genai": util_genai, "openinference": openinference}[arrangement](tracing, metering)[1]

    async def open_stream(count):
        return wrap(Paced(made[count], 0.01))

    return open_stream


def litellm_opener(arrangement, tracing, metering, base_url):
    import litellm

    wrap = None
    if arrangement == "ours":
        from otel_tokenstream import LiteLLMInstrumentor

        LiteLLMInstrumentor().instrument(tracer_provider=tracing, meter_provider=metering)
    elif arrangement == "openinference":
        from openinference.instrumentation.litellm import LiteLLMInstrumentor

        LiteLLMInstrumentor().instrument(tracer_provider=tracing)
    elif arrangement == "util-genai":
        from peers import util_genai

        wrap = util_genai(tracing, metering)[1]

    async def open_stream(count):
        messages = [{"role": "user", "content": "Go on."}]
        options = {"api_base": base_url, "api_key": "none", "stream": True, "max_retries": 0}
        stream = await litellm.acompletion(model=f"openai/words{count}", messages=messages, **options)
        return wrap(stream) if wrap else stream

    return open_stream


def engine_opener(arrangement, tracing, metering, base_url):
    import dspy
    from dspy.clients.execution import _engine, prepare

    if arrangement == "ours":
        from otel_tokenstream import DSPyInstrumentor

        DSPyInstrumentor().instrument(tracer_provider=tracing, meter_provider=metering)
    about = {"api_base": base_url, "api_key": "none", "cache": False, "num_retries": 0, "engine": "lm15"}
    messages = [{"role": "user", "content": "Go on."}]

    async def open_stream(count):
        lm = dspy.LM(f"openai/words{count}", **about)
        engine, request, _ = _engine(lm, prepare(lm, None, messages, {}), True)
        return engine.stream(request)

    return open_stream


OPENERS = {"prebuilt": prebuilt_opener, "litellm": litellm_opener, "engine": engine_opener}


async def read(open_stream, count):
    async for _ in await open_stream(count):
        pass


async def run(open_stream, count, streams, rate):
    loop = asyncio.get_running_loop()
    begun, reading = loop.time(), []
    for number in range(streams):
        await asyncio.sleep(max(begun + number / rate - loop.time(), 0))
        reading.append(asyncio.create_task(read(open_stream, count)))
    await asyncio.gather(*reading)


def measure(workload, arrangement, sizes, endpoint, base_url, *, with_parts):
    parts = Parts() if with_parts else None
    tracing, metering = providers(endpoint, parts)
    if parts is not None:
        from otel_tokenstream.core.call.model_call import ModelCall
        from otel_tokenstream.core.emit.telemetry import Telemetry

        parts.time(Telemetry, "start", "start")
        parts.time(ModelCall, "end", "end")
    arguments = (base_url,) if workload != "prebuilt" else ()
    open_stream = OPENERS[workload](arrangement, tracing, metering, *arguments)
    asyncio.run(run(open_stream, 10, 5, 50))
    tracing.force_flush()
    metering.force_flush()
    told = {}
    for count in sizes:
        streams, rate = (PREBUILT if workload == "prebuilt" else LIBRARY)[count]
        gc.collect()
        if parts is not None:
            parts.taken.clear()
        whole, here = time.process_time_ns(), time.thread_time_ns()
        asyncio.run(run(open_stream, count, streams, rate))
        here = time.thread_time_ns() - here
        # In a thread, so that its share is told apart.
        flushing = threading.Thread(target=lambda: (tracing.force_flush(), metering.force_flush()))
        flushing.start()
        flushing.join()
        whole = time.process_time_ns() - whole
        told[count] = {"all": whole / streams / 1e3, "caller's thread": here / streams / 1e3}
        told[count] |= {part: spent / streams / 1e3 for part, spent in (parts.taken.items() if parts else ())}
    print(json.dumps(told), flush=True)
    tracing.shutdown()
    metering.shutdown()


# --- The measurement ------------------------------------------------------------------------------


def measured(arguments, arrangement, package, sizes, base_url, *, with_parts=False):
    """Run one arrangement in a process of its own and return its figures by size and part."""
    receiving = subprocess.Popen(
        [sys.executable, str(HERE / "counting_receiver.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        endpoint = receiving.stdout.readline().strip()
        command = [sys.executable, __file__, arguments.workload, "--measure", arrangement, endpoint, base_url]
        command += ["--chunks", *map(str, sizes), *(["--parts"] if with_parts else [])]
        environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": os.devnull}
        if package:
            environment["PYTHONPATH"] = package
        made = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        with urllib.request.urlopen(f"{endpoint}/spans") as answer:
            received = len(json.load(answer))
    finally:
        receiving.kill()
        receiving.communicate()
    rates = PREBUILT if arguments.workload == "prebuilt" else LIBRARY
    expected = 0 if arrangement == "bare" else 5 + sum(rates[count][0] for count in sizes)
    if received != expected:
        sys.exit(f"{arrangement}: {received} spans were received of {expected}")
    return {int(count): figures for count, figures in json.loads(made.splitlines()[-1]).items()}


def medians(runs, sizes):
    return {
        count: {part: statistics.median(run[count].get(part, 0) for run in runs) for part in runs[0][count]}
        for count in sizes
    }


def compare(arguments, base_url):
    sizes = arguments.chunks
    ours = {f"ours {package}".strip(): ("ours", package) for package in arguments.package or [""]}
    compared = {"bare": ("bare", ""), **ours}
    if arguments.peers and arguments.workload != "engine":
        compared |= {peer: (peer, "") for peer in PEERS}
    runs = {name: [] for name in compared}
    for _ in range(arguments.rounds):
        for name, (arrangement, package) in compared.items():
            runs[name].append(measured(arguments, arrangement, package, sizes, base_url))
    found = {name: medians(each, sizes) for name, each in runs.items()}
    print(f"{arguments.workload}: CPU of a stream in us, median of {arguments.rounds} runs, least of them in brackets")
    for count in sizes:
        bare = found["bare"][count]
        print(f"{count} chunks: bare {bare['all']:.0f}")
        for name in list(compared)[1:]:
            least = min(run[count]["all"] for run in runs[name]) - min(run[count]["all"] for run in runs["bare"])
            more = {part: found[name][count][part] - bare[part] for part in bare}
            there = more["caller's thread"]
            print(
                f"  {name:24} +{more['all']:7.0f} ({least:.0f})   caller's thread +{there:.0f}, "
                f"others +{more['all'] - there:.0f}",
                flush=True,
            )
    if not arguments.parts:
        return
    for name, (_, package) in ours.items():
        figures = [
            measured(arguments, "ours", package, sizes, base_url, with_parts=True) for _ in range(arguments.rounds)
        ]
        parted = medians(figures, sizes)
        for count in sizes:
            of = parted[count]
            reads = found[name][count]["caller's thread"] - found["bare"][count]["caller's thread"]
            of["reads"] = reads - of["start"] - of["end"]
            told = ", ".join(f"{part} {of[part]:.0f}" for part in ("start", "reads", *PARTS[1:]))
            print(f"{name}, {count} chunks, by part: {told}", flush=True)


def serve():
    """Serve the streams of chunks that come in one go each, and print the address."""
    from otel_tokenstream.demo.provider import Script, ScriptedProvider

    with ScriptedProvider() as provider:
        for count in LIBRARY:
            words = [f"word{number % 7} " for number in range(count)]
            provider.scripts[f"words{count}"] = Script(pieces=words, gap=0.01)
        print(provider.base_url, flush=True)
        sys.stdin.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=[*OPENERS, "serve"])
    parser.add_argument("--chunks", type=int, nargs="*", default=list(PREBUILT), choices=list(PREBUILT))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--package", action="append", help="a folder that has another version of this package")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--parts", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        arrangement, endpoint, base_url = arguments.measure
        measure(arguments.workload, arrangement, arguments.chunks, endpoint, base_url, with_parts=arguments.parts)
    elif arguments.workload == "serve":
        serve()
    elif arguments.workload == "prebuilt":
        compare(arguments, "none")
    else:
        command = [sys.executable, __file__, "serve"]
        serving = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            compare(arguments, serving.stdout.readline().strip())
        finally:
            serving.communicate()


if __name__ == "__main__":
    main()
