"""LangChain: how true the times are in each way to stream, and what a chunk costs.

A provider that sends a chunk every 50 ms, in a process of its own, and a caller that keeps each chunk for 200 ms: first
token and gaps against the provider's own send stamps, on one clock. Then a model in memory, with and without
instrumentation: microseconds that a chunk costs more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableParallel
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_openai import ChatOpenAI

from otel_tokenstream import signals
from otel_tokenstream.testing import capture

SERVER = """
import asyncio, sys
from otel_tokenstream.demo.provider import Script, ScriptedProvider
async def serve():
    provider = ScriptedProvider()
    provider.scripts["steady"] = Script(pieces=["x"] * 12, gap=0.05, first_piece=0.1, role_alone=False)
    async with provider.serving():
        print(provider.address, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(serve())
"""
KEPT = 0.2


class Underneath(BaseCallbackHandler, _StreamingCallbackHandler):
    def tap_output_iter(self, _, output):
        return output

    def tap_output_aiter(self, _, output):
        return output

    def on_llm_new_token(self, *_, **__):
        time.sleep(KEPT)


def stream(model):
    for _ in model.stream("Why?"):
        time.sleep(KEPT)


def events(model):
    for _ in model.stream_events("Why?", version="v3").text:
        time.sleep(KEPT)


def invoke(model):
    model.invoke("Why?", config={"callbacks": [Underneath()]})


def parallel(model):
    for _ in RunnableParallel(one=model, two=model).stream("Why?"):
        time.sleep(KEPT)


async def astream(model):
    async for _ in model.astream("Why?"):
        await asyncio.sleep(KEPT)


async def aevents_v2(model):
    async for _ in model.astream_events("Why?", version="v2"):
        await asyncio.sleep(KEPT)


async def aevents_v3(model):
    async for _ in (await model.astream_events("Why?", version="v3")).text:
        await asyncio.sleep(KEPT)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=20_000)
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with server:
        address = server.stdout.readline().strip()
        number = 0
        for way in (stream, events, invoke, parallel, astream, aevents_v2, aevents_v3):
            found = []
            for _ in range(options.streams + 1):  # the first one loads and connects
                number += 1
                model = ChatOpenAI(model="steady", base_url=f"{address}/v1", api_key="none", timeout=60 + number)
                found.append(truth(address, way, model))
            first, gaps, kept = (statistics.median(values) for values in zip(*found[1:], strict=True))
            print(f"{way.__name__:12} first token {first:+6.2f} ms  gap p50 {gaps:7.2f} ms  consumer {kept:6.0f} ms")
        server.stdin.close()
    cost(options.chunks)


def truth(address, way, model):
    """(first token - sent, median gap, consumer time) of one stream, in ms."""
    with capture(event_budget=1024) as captured:
        result = way(model)
        if result is not None:
            asyncio.run(result)
    generation = captured.generations[0]
    with urllib.request.urlopen(f"{address}/log") as log:
        exchanges = json.load(log)
    sent = [at for at, kind in zip(exchanges[-1]["sent_ns"], exchanges[-1]["kinds"], strict=True) if kind == "text"]
    tokens = [event for event in generation.tokens if event.attributes[signals.AT_CHARS]]
    offsets = [event.attributes[signals.AT_OFFSET_US] for event in tokens]
    started = generation.span.start_time - time.time_ns() + time.perf_counter_ns()
    measured = [(later - earlier) / 1e3 for earlier, later in pairwise(offsets)]
    first = (started + offsets[0] * 1_000 - sent[0]) / 1e6
    return first, statistics.median(measured), generation.attributes[signals.CONSUMER_TOTAL_MS]


class InMemory(BaseChatModel):
    """Gives chunks that were made before."""

    chunks: list

    @property
    def _llm_type(self):
        return "in-memory"

    def _generate(self, *_, **__):
        return ChatResult(generations=[])

    def _stream(self, *_, **__):
        yield from self.chunks


def cost(count):
    chunks = [ChatGenerationChunk(message=AIMessageChunk(content="x ")) for _ in range(count)]
    model = InMemory(chunks=chunks)

    def whole():
        start = time.thread_time()
        for _ in model.stream("Why?"):
            pass
        return time.thread_time() - start

    bare, ours = [], []
    for _ in range(7):
        bare.append(whole())
        with capture(langchain_steps=0):
            ours.append(whole())
    more = (statistics.median(ours) - statistics.median(bare)) / count * 1e6
    print(f"a chunk of stream(): {statistics.median(bare) / count * 1e6:.2f} us, {more:+.2f} us with instrumentation")


if __name__ == "__main__":
    main()
