"""Minutes of streams with mixed endings, many at once, against a receiver that is killed twice.

The receiver is down for two seconds each time, well within the ten that the exporter retries for.
It keeps its journal on disk and is killed with SIGKILL, so that every span is counted that it has
acknowledged. Printed are the streams made and the spans received, by outcome, and how memory
grew in the second half of the time. The exit status is 1 where a span is missing or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
DOWN = 2.0  # seconds
AT_ONCE = 100
GROWTH = 0.03  # of the memory after half of the time
SCRIPTS = ("whole", "long", "cut", "error_frame", "http_error", "hang")


# --- The measured process ----------------------------------------------------------------------


async def whole(stream):
    async for _ in stream:
        pass


async def left(stream):
    async for _ in stream:
        break


async def closed(stream):
    async for _ in stream:
        break
    await stream.aclose()


async def raised(stream):
    async for _ in stream:
        raise LookupError


async def timed_out(stream):
    await asyncio.wait_for(whole(stream), 0.2)


# How it is read, the model's script, and how often.
WAYS = (
    (whole, "whole", 8),
    (whole, "long", 2),
    (whole, "cut", 1),
    (whole, "error_frame", 1),
    (whole, "http_error", 1),
    (left, "hang", 2),
    (closed, "hang", 2),
    (raised, "hang", 1),
    (timed_out, "hang", 2),
)


async def one(way, script, base_url):
    import litellm

    with contextlib.suppress(Exception):
        await way(
            await litellm.acompletion(
                model=f"openai/{script}",
                messages=[{"role": "user", "content": "Go on."}],
                stream=True,
                api_base=base_url,
                api_key="none",
                max_retries=0,
            )
        )


def blocks():
    for _ in range(3):
        gc.collect()
    return sys.getallocatedblocks()


def resident():
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def soak(seconds, base_url, providers):
    until = time.monotonic() + seconds
    made, marks, idle, gate = 0, [], asyncio.Event(), asyncio.Event()
    gate.set()
    reading = 0
    chance = random.Random(5)

    async def read_on():
        nonlocal made, reading
        while time.monotonic() < until:
            await gate.wait()
            way, script, _ = chance.choices(WAYS, [often for *_, often in WAYS])[0]
            made += 1
            reading += 1
            idle.clear()
            await one(way, script, base_url)
            reading -= 1
            if not reading:
                idle.set()

    async def mark():
        """Memory while nothing streams and everything is exported."""
        gate.clear()
        await idle.wait()
        await asyncio.sleep(1)
        await asyncio.to_thread(lambda: [provider.force_flush() for provider in providers])
        marks.append({"blocks": blocks(), "bytes": resident()})
        gate.set()

    readers = [asyncio.create_task(read_on()) for _ in range(AT_ONCE)]
    for _ in range(3):
        await asyncio.sleep(seconds / 4)
        await mark()
    await asyncio.gather(*readers)
    await mark()
    return made, marks


def measured(seconds, base_url, endpoint):
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from otel_tokenstream import LiteLLMInstrumentor

    tracing = TracerProvider()
    tracing.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces"), schedule_delay_millis=1_000)
    )
    exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics")
    metrics = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=2_000)])
    LiteLLMInstrumentor().instrument(tracer_provider=tracing, meter_provider=metrics, skip_dep_check=True)
    made, marks = asyncio.run(soak(seconds, base_url, (tracing, metrics)))
    tracing.shutdown()
    metrics.shutdown()
    print(json.dumps({"made": made, "marks": marks}), flush=True)


# --- The measurement -----------------------------------------------------------------------------


def receiver(port, journal):
    command = [sys.executable, str(HERE / "counting_receiver.py"), "--port", str(port), "--journal", str(journal)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def end(process):
    process.kill()
    process.communicate()


def interrupted(program, seconds, journal):
    """Run the program's time with a receiver that is killed after a third and after two thirds of it."""
    receiving, endpoint = receiver(0, journal)
    port = int(endpoint.rsplit(":", 1)[1])
    running = program(endpoint)
    try:
        for _ in range(2):
            time.sleep(seconds / 3)
            end(receiving)
            time.sleep(DOWN)
            receiving, _ = receiver(port, journal)
        told, _ = running.communicate(timeout=seconds + 120)
    finally:
        running.kill()
        end(receiving)
    return json.loads(told.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measured(arguments.seconds, *arguments.measure)
        return
    from otel_tokenstream.demo.provider import Script, ScriptedProvider

    scripts = {ending: Script(pieces=list("abcdef"), gap=0.05, ending=ending) for ending in SCRIPTS[2:]}
    scripts["whole"] = Script(pieces=["word "] * 20, gap=0.05)
    scripts["long"] = Script(pieces=["word "] * 200, gap=0.02)
    with tempfile.TemporaryDirectory() as directory, ScriptedProvider() as provider:
        provider.scripts.update(scripts)
        journal = Path(directory) / "spans"

        def program(endpoint):
            command = [sys.executable, __file__, "--seconds", str(arguments.seconds)]
            return subprocess.Popen(
                [*command, "--measure", provider.base_url, endpoint],
                env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
                stdout=subprocess.PIPE,
                text=True,
            )

        told = interrupted(program, arguments.seconds, journal)
        outcomes = dict(line.split() for line in journal.read_text().splitlines())
    made, marks = told["made"], told["marks"]
    grown = {name: marks[-1][name] / marks[1][name] - 1 for name in ("blocks", "bytes")}
    print(f"{made} streams in {arguments.seconds:.0f} s, {AT_ONCE} at once; receiver killed twice")
    print(f"{len(outcomes)} spans received: {dict(sorted(Counter(outcomes.values()).items()))}")
    for number, mark in enumerate(marks, 1):
        print(f"memory after {number}/4: {mark['blocks']} blocks, {mark['bytes'] / 2**20:.1f} MiB resident")
    print(f"grown since 2/4: blocks {grown['blocks']:.2%}, resident {grown['bytes']:.2%}", flush=True)
    sys.exit(0 if len(outcomes) == made and max(grown.values()) < GROWTH else 1)


if __name__ == "__main__":
    main()
