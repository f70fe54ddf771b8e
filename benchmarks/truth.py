"""How true the measured times are, against the scripted provider's own send stamps on this machine.

First-token time and gaps at 20 ms chunks; a slow consumer over a fast provider; a pause of the
provider; a pause of the consumer. Client and provider read one clock. The provider runs in a
process of its own, so that it does not wait for the client's interpreter lock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm

from otel_tokenstream import signals
from otel_tokenstream.testing import capture

# Few enough chunks for an event each.
SERVER = """
import asyncio, sys
from otel_tokenstream.demo.provider import Script, ScriptedProvider
async def serve():
    provider = ScriptedProvider()
    provider.scripts |= {
        "steady": Script(pieces=["x"] * 20, gap=0.02, first_piece=0.1),
        "fast": Script(pieces=["x"] * 60, gap=0.005),
        "pause": Script(pieces=["x"] * 20, gap=0.02, pauses={10: 2.5}),
    }
    async with provider.serving():
        print(provider.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(serve())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with server:
        address = server.stdout.readline().strip()
        read(address, "steady")  # what the first call of a process loads is not the model's time
        steady(address, options.streams)
        slow_consumer(address)
        pauses(address)
        server.stdin.close()


def read(address, model, keep=None):
    """Read one stream and return its generation; ``keep`` says how long the caller keeps a chunk, in s."""
    about = {"api_base": f"{address}/v1", "api_key": "none", "stream": True}
    with capture(event_budget=1024) as captured:
        stream = litellm.completion(f"openai/{model}", [{"role": "user", "content": "Why?"}], **about)
        for index, _ in enumerate(stream):
            if keep is not None:
                time.sleep(keep(index))
    return captured.generations[0]


def steady(address, streams):
    first, gaps = [], []
    for _ in range(streams):
        generation = read(address, "steady")
        with urllib.request.urlopen(f"{address}/log") as log:
            exchange = json.load(log)[-1]
        sent = [at for at, kind in zip(exchange["sent_ns"], exchange["kinds"], strict=True) if kind == "text"]
        events = [event for event in generation.tokens if event.attributes[signals.AT_CHARS]]
        offsets = [event.attributes[signals.AT_OFFSET_US] for event in events]
        # The span's start, which is wall-clock time, on the clock of the provider's stamps.
        started = generation.span.start_time - time.time_ns() + time.perf_counter_ns()
        first.append(offsets[0] / 1e3 - (sent[0] - started) / 1e6)
        for (one, two), (before, after) in zip(pairwise(offsets), pairwise(sent), strict=True):
            gaps.append(abs((two - one) / 1e3 - (after - before) / 1e6))
    show("first token later than it was sent", first)
    show("error of a gap, 20 ms chunks", gaps)


def show(name, milliseconds):
    ordered = sorted(milliseconds)
    p99 = ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)]
    print(f"{name}: median {statistics.median(ordered):.2f} ms, p99 {p99:.2f} ms, of {len(ordered)}")


def slow_consumer(address):
    said = read(address, "fast", keep=lambda _: 0.05).attributes
    chunks = said[signals.CHUNKS]
    waits = (said[signals.WAIT_TOTAL_MS] - said[signals.TIME_TO_FIRST_TOKEN_MS]) / chunks
    print(
        f"50 ms consumer over a 5 ms provider: kept {said[signals.CONSUMER_TOTAL_MS] / chunks:.1f} ms a chunk, "
        f"waited {max(waits, 0):.2f} ms"
    )


def pauses(address):
    said = read(address, "pause").attributes
    print(f"2.5 s pause: {said[signals.STALL_COUNT]} stall of {said[signals.STALL_TOTAL_MS]} ms")
    said = read(address, "steady", keep=lambda index: 2.5 if index == 10 else 0).attributes
    print(f"2.5 s consumer: {said[signals.STALL_COUNT]} stalls, {said[signals.CONSUMER_TOTAL_MS]} ms kept")


if __name__ == "__main__":
    main()
