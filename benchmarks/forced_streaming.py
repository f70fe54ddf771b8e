"""What a plain DSPy call costs that is streamed underneath, beside the plain call and the plain stream.

In CPU time of the process, the provider being another one. The cost per chunk is the slope
between a short and a long answer; medians are over rounds that take the ways in turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)

import dspy
import litellm
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, stream_fields

SHORT, LONG = 100, 2_100


def serve(connection, sizes):
    from otel_tokenstream.demo.provider import Script, ScriptedProvider

    with ScriptedProvider() as provider:
        for size in sizes:
            words = [f"word{number % 7} " for number in range(size - 2)]
            pieces = ["[[ ## answer ## ]]\n", *words, "\n\n[[ ## completed ## ]]"]
            provider.scripts[f"words{size}"] = Script(pieces=pieces, gap=0.0, frames_per_write=8)
        connection.send(provider.base_url)
        connection.recv()


def models(base_url, engine):
    about = {"api_base": base_url, "api_key": "none", "cache": False, "num_retries": 0, "engine": engine}
    return {size: dspy.LM(f"openai/words{size}", **about) for size in (SHORT, LONG)}


def called(lm, *fields):
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()), stream_fields(fields):
        return dspy.Predict("question -> answer")(question="Why?")


def streamed_by_lm15(lm):
    from dspy.clients.execution import _engine, prepare

    engine, request, _ = _engine(lm, prepare(lm, None, [{"role": "user", "content": "Why?"}], {}), False)
    for _ in engine.stream(request):
        pass


def streamed_by_litellm(lm):
    messages = [{"role": "user", "content": "Why?"}]
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for _ in litellm.completion(
        lm.model, messages, api_base=lm.kwargs["api_base"], api_key="none", cache={"no-cache": True}, **options
    ):
        pass


STREAMED = {"lm15": streamed_by_lm15, "litellm": streamed_by_litellm}


def cpu(way, lm):
    started = time.process_time()
    way(lm)
    return time.process_time() - started


def measure(ways, lms, rounds):
    """Median CPU time of each way and size, in seconds."""
    taken = {(name, size): [] for name in ways for size in lms}
    for way in ways.values():
        way(lms[SHORT])
    for _ in range(rounds):
        for name, way in ways.items():
            for size, lm in lms.items():
                taken[name, size].append(cpu(way, lm))
    return {key: statistics.median(times) for key, times in taken.items()}


def report(taken, ways):
    for name in ways:
        slope = (taken[name, LONG] - taken[name, SHORT]) / (LONG - SHORT)
        print(f"  {name:34}{slope * 1e6:9.1f} us a chunk{taken[name, SHORT] * 1e3:9.1f} ms for {SHORT} chunks")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    here, there = multiprocessing.get_context("spawn").Pipe()
    provider = multiprocessing.get_context("spawn").Process(target=serve, args=(there, (SHORT, LONG)), daemon=True)
    provider.start()
    base_url = here.recv()
    for engine in ("lm15", "litellm"):
        lms = models(base_url, engine)
        bare = {"plain call": called, "plain stream": STREAMED[engine]}
        print(engine)
        report(measure(bare, lms, rounds), bare)
        providers = {
            "tracer_provider": TracerProvider(),
            "meter_provider": MeterProvider([InMemoryMetricReader()]),
        }
        instrumentors = (DSPyInstrumentor(), LiteLLMInstrumentor())
        for instrumentor in instrumentors:
            instrumentor.instrument(**providers)
        seen = {
            "plain call, instrumented": called,
            "plain stream, instrumented": STREAMED[engine],
            "streamed underneath": lambda lm: called(lm, "answer"),
        }
        report(measure(seen, lms, rounds), seen)
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
    here.send("done")
    provider.join(10)


if __name__ == "__main__":
    main()
