"""A program that streams through litellm and DSPy with known faults, and writes down what it sent.

    python traffic.py SCENARIO --service NAME --endpoint URL [--truth DIRECTORY]

What it sends goes to the Collector by OTLP and, by a second exporter of each signal, into files of
the directory as OTLP messages. It prints "done" after a scenario and reads the next one's name from
standard input until that ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"] = "true"

import litellm
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, correlate, subscribe
from otel_tokenstream.demo.provider import Script, ScriptedProvider, Usage
from otel_tokenstream.patches.seams import report

WORDS = [f"word{index} " for index in range(40)]
# gpt-4o-mini has a price in litellm's table; gpt-4o is the other side of a comparison.
SCRIPTS: dict = {
    "gpt-4o-mini": Script(WORDS, first_piece=0.1, gap=0.01),
    "gpt-4o": Script(WORDS, first_piece=0.3, gap=0.02),
    "late": Script(WORDS, first_piece=2.9, gap=0.005),
    "stalling": Script(WORDS, first_piece=0.1, gap=0.005, pauses={10: 2.8}),
    "late-and-stalling": Script(WORDS, first_piece=2.9, gap=0.005, pauses={10: 2.9}),
    "silent": Script(WORDS, first_piece=0.1, gap=0.005, pauses={10: 90}),
    "left": Script(WORDS, first_piece=0.1, gap=0.005, pauses={10: 60}),
    "cut": Script(WORDS, first_piece=0.1, gap=0.005, ending="cut", ends_after=12),
    "overloaded": Script(ending="http_error", status=503, error_type="overloaded_error"),
    "long": Script([f"w{index} " for index in range(1500)], gap=0.001),
    "quick": Script(WORDS[:6], gap=0),
    "even": Script(WORDS, gap=0.005),
    # Its name leads litellm to Anthropic's API, which reports what was written to the cache.
    "claude-sonnet-4-5": Script(WORDS, gap=0.005, usage=Usage(input=90, output=40, cached=30, written=20)),
}

FAULTY = ("cut", "overloaded", "moody")
# Late and stalling fourteen times and well from then on: alerts are by model, and must see the same one recover.
SCRIPTS["weary"] = [*[SCRIPTS["late-and-stalling"]] * 14, SCRIPTS["quick"]]
# Fails ten times and is well from then on.
SCRIPTS["moody"] = [*[SCRIPTS["cut"]] * 6, *[SCRIPTS["overloaded"]] * 4, SCRIPTS["quick"]]


class Traffic:
    def __init__(self, service, endpoint, version, queue, interval):
        resource = Resource.create({"service.name": service, "service.version": version})
        self.spans, self.logs, self.metrics = (
            InMemorySpanExporter(),
            InMemoryLogRecordExporter(),
            InMemoryMetricReader(),
        )
        metric_exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics")
        self.meters = MeterProvider(
            [self.metrics, PeriodicExportingMetricReader(metric_exporter, interval * 1000)], resource
        )
        self.tracers = TracerProvider(resource=resource, meter_provider=self.meters)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        batches = BatchSpanProcessor(
            OTLPSpanExporter(f"{endpoint}/v1/traces", meter_provider=self.meters),
            max_queue_size=queue,
            max_export_batch_size=min(512, queue),
            schedule_delay_millis=1000 if queue > 4 else 60_000,
            meter_provider=self.meters,
        )
        self.tracers.add_span_processor(batches)
        self.loggers = LoggerProvider(resource=resource, meter_provider=self.meters)
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs")))
        providers = {
            "tracer_provider": self.tracers,
            "meter_provider": self.meters,
            "logger_provider": self.loggers,
        }
        for instrumentor in (LiteLLMInstrumentor(), DSPyInstrumentor()):
            instrumentor.instrument(**providers, events="both", metric_names="both")

    def write(self, directory):
        """Send everything and write it down; gauges and counters are read once more for both."""
        self.tracers.force_flush()
        self.loggers.force_flush()
        self.meters.force_flush()
        directory.mkdir(parents=True, exist_ok=True)
        encoded = {
            "traces": encode_spans(self.spans.get_finished_spans()),
            "logs": encode_logs(self.logs.get_finished_logs()),
            "metrics": encode_metrics(self.metrics.get_metrics_data()),
        }
        for name, message in encoded.items():
            (directory / f"{name}.pb").write_bytes(message.SerializeToString())


class Streams:
    """Ways to use a stream, all against one provider."""

    def __init__(self, base_url):
        self.connection = {"api_base": base_url, "api_key": "none"}

    async def open(self, model):
        return await litellm.acompletion(
            model=f"openai/{model}",
            messages=[{"role": "user", "content": "Say something."}],
            stream=True,
            stream_options={"include_usage": True},
            timeout=120,
            num_retries=0,
            max_retries=0,
            **self.connection,
        )

    async def read(self, model, pause=0.0):
        with contextlib.suppress(*([Exception] if model in FAULTY else [])):
            async for _ in await self.open(model):
                if pause:
                    await asyncio.sleep(pause)

    async def cancel(self, model):
        """Be cancelled in a read, after the first chunk; the model must not have ended by then."""
        begun = asyncio.Event()

        async def read():
            async for _ in await self.open(model):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def close(self, model):
        stream = await self.open(model)
        async for _ in stream:
            break
        await stream.aclose()

    async def drop(self, model):
        stream = await self.open(model)
        async for _ in stream:
            break
        del stream
        gc.collect()

    async def talk(self, model):
        """Read slowly, in a conversation."""
        with correlate(conversation_id="conversation", user_id="reader"):
            await self.read(model, 0.03)

    async def watch(self, model):
        """Read while somebody looks on who fails at every event: a fault, and an event lost."""

        def fail(_):
            raise LookupError

        with subscribe(fail):
            await self.read(model)

    def fields(self):
        import dspy
        from dspy.streaming import StreamListener

        program = dspy.streamify(
            dspy.Predict("question -> answer"),
            stream_listeners=[StreamListener("answer")],
            async_streaming=False,
        )
        with dspy.context(lm=dspy.LM("openai/human", cache=False, max_tokens=60, **self.connection)):
            for _ in program(question="Why is the sky blue?"):
                pass

    def agent(self):
        """Let a model choose tools."""
        import dspy

        def look_up(place: str) -> str:
            """Tell the weather of a place."""
            return f"It rains in {place}."

        with dspy.context(lm=dspy.LM("openai/human", cache=False, max_tokens=60, **self.connection)):
            dspy.ReAct("question -> answer", tools=[look_up], max_iters=2)(question="Does it rain in Bergen?")

    async def cache(self):
        """Have a part of the prompt cached, and another one read from there."""
        stream = await litellm.acompletion(
            model="anthropic/claude-sonnet-4-5",
            messages=[{"role": "user", "content": "Say something."}],
            stream=True,
            max_tokens=99,
            api_base=self.connection["api_base"].removesuffix("/v1"),
            api_key="none",
        )
        async for _ in stream:
            pass

    async def several(self, times, use, model, at_once=12):
        for start in range(0, times, at_once):
            await asyncio.gather(*(use(model) for _ in range(min(at_once, times - start))))


async def mixed(streams):
    """Everything a dashboard shows; about 25 s."""
    await asyncio.to_thread(streams.fields)
    report("litellm", {"an entry that a later version has moved"})
    for _ in range(6):
        await asyncio.to_thread(streams.agent)
        await asyncio.gather(
            streams.cache(),
            streams.several(4, streams.read, "gpt-4o-mini"),
            streams.several(4, streams.read, "gpt-4o"),
            streams.read("late"),
            streams.read("stalling"),
            streams.read("cut"),
            streams.read("overloaded"),
            streams.cancel("left"),
            streams.close("gpt-4o-mini"),
            streams.drop("gpt-4o-mini"),
            streams.talk("even"),
            streams.watch("gpt-4o-mini"),
        )
    await streams.read("long")


async def silent(streams):
    """Four streams with 90 s of silence at once."""
    await streams.several(4, streams.read, "silent", 4)


async def slow(streams):
    """Late first tokens and long waits in the same streams."""
    await streams.several(14, streams.read, "weary", 14)


async def failing(streams):
    """Failures and readers who leave."""
    await streams.several(10, streams.read, "moody")
    await streams.several(14, streams.cancel, "left")


async def recovered(streams):
    """The model that failed is well again."""
    await streams.several(300, streams.read, "moody", 20)


async def rested(streams):
    """The model that was late is well again, and outweighs what it was."""
    await streams.several(400, streams.read, "weary", 20)


async def healthy(streams):
    await streams.several(400, streams.read, "quick", 20)


async def few(streams):
    await streams.several(8, streams.read, "quick")


async def sampled(streams):
    """Streams to keep, one of them longer than the wait for a decision, and streams to choose from."""
    await asyncio.gather(
        streams.several(200, streams.read, "quick", 10),
        streams.several(4, streams.read, "late"),
        streams.several(4, streams.read, "stalling"),
        streams.several(4, streams.read, "cut"),
        streams.several(2, streams.cancel, "left"),
        streams.read("silent"),
    )


async def slow_consumer(streams):
    """A reader who takes 50 ms for what the provider sends every 5 ms."""
    await streams.several(10, lambda model: streams.read(model, 0.05), "even", 10)


SCENARIOS = {
    each.__name__: each
    for each in (mixed, silent, slow, rested, failing, recovered, healthy, few, sampled, slow_consumer)
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--service", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--version", default="1")
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--queue", type=int, default=2048)
    parser.add_argument("--interval", type=float, default=5)
    arguments = parser.parse_args()
    litellm.suppress_debug_info = True
    with ScriptedProvider() as provider:
        provider.scripts.update(SCRIPTS)
        # The first call of a process imports for seconds, which would count as a late first token.
        asyncio.run(Streams(provider.base_url).read("quick"))
        traffic = Traffic(arguments.service, arguments.endpoint, arguments.version, arguments.queue, arguments.interval)
        streams = Streams(provider.base_url)
        name = arguments.scenario
        while name:
            asyncio.run(SCENARIOS[name](streams))
            gc.collect()
            if arguments.truth:
                traffic.write(arguments.truth)
            print("done", flush=True)
            name = sys.stdin.readline().strip()


if __name__ == "__main__":
    main()
