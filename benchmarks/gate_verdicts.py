"""How often the gate is right, on streams that litellm reads from the scripted provider and the viewer records.

Each run has three builds whose streams are asked in a shuffled order, so that the machine is the same for all: a
baseline, the same once more, and one whose first token takes 20 % longer. First tokens are log-normal. The gate has the
limits of docs/gate.md: at most 10 % more in the median and the 95th percentile.

It needs the machine for itself: where the client waits for a processor, its queue is longer than what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
from collections import Counter
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tokenstream import LiteLLMInstrumentor
from otel_tokenstream.analysis.selection import Condition
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from otel_tokenstream.gate import recordings
from otel_tokenstream.gate.configuration import parse
from otel_tokenstream.gate.decision import decide
from otel_tokenstream.viewer import running

LIMITS = {"regression": [{"name": "all", "first_token_p50": "10 %", "first_token_p95": "10 %"}]}
SLOWER = {"baseline": 1.0, "unchanged": 1.0, "slower": 1.2}
MEDIAN, SIGMA = 0.4, 0.1  # seconds; of the logarithm
FEW = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--streams", type=int, default=100, help="of each build in each run")
    parser.add_argument("--at-once", type=int, default=20)
    options = parser.parse_args()
    verdicts: Counter[tuple[str, str]] = Counter()
    for seed in range(1, options.runs + 1):
        sides = asyncio.run(recorded(seed, options.streams, options.at_once))
        configuration = parse({**LIMITS, "seed": seed})
        for build in ("slower", "unchanged"):
            verdicts[build, decide(configuration, sides[build], sides["baseline"]).verdict] += 1
            few = decide(configuration, sides[build][:FEW], sides["baseline"][:FEW])
            verdicts[f"{build}, {FEW} streams", few.verdict] += 1
        print(seed, dict(verdicts), flush=True)
    for (build, verdict), count in sorted(verdicts.items()):
        print(f"{build}: {verdict} {count} of {options.runs}")


async def recorded(seed, streams, at_once):
    """Ask every build, and return the streams of each as the gate reads them from the recording."""
    chance = random.Random(seed)
    order = [build for build in SLOWER for _ in range(streams)]
    chance.shuffle(order)
    with tempfile.TemporaryDirectory() as directory, ScriptedProvider() as provider:
        for build, factor in SLOWER.items():
            provider.scripts[build] = [
                Script(pieces=["a ", "b"], gap=0.001, first_piece=factor * MEDIAN * chance.lognormvariate(0, SIGMA))
                for _ in range(streams)
            ]
        database = Path(directory) / "recording.db"
        with running(database=database) as viewer:
            telemetry = TracerProvider(resource=Resource.create({"service.name": "asking"}))
            telemetry.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{viewer.url}/v1/traces")))
            instrumentor = LiteLLMInstrumentor()
            instrumentor.instrument(tracer_provider=telemetry)
            places = asyncio.Semaphore(at_once)
            await asyncio.gather(*(ask(build, provider.base_url, places) for build in order))
            instrumentor.uninstrument()
            telemetry.shutdown()
        found = recordings.read([database], None, []).streams()
    return {build: recordings.side(found, Condition.parse(f"model={build}"), build) for build in SLOWER}


async def ask(model, base_url, places):
    question = [{"role": "user", "content": "Tides?"}]
    async with places:
        stream = await litellm.acompletion(
            f"openai/{model}", question, stream=True, api_base=base_url, api_key="none", max_retries=0
        )
        async for _ in stream:
            pass


if __name__ == "__main__":
    main()
