"""Real streams of litellm and DSPy, recorded by the viewer's receiver and as OTLP in JSON at the same time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import gzip
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Before litellm and DSPy are imported: the first asks a server for its prices, the second keeps answers on disk.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("DSPY_CACHEDIR", os.devnull)

import litellm
import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_tokenstream.demo.provider import Script, ScriptedProvider
from otel_tokenstream.testing import Generation, capture
from tests.analysis.answering import serve

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.demo.provider.log import Exchange

__all__ = ["recorded", "serve"]

WORDS = [f"word{index} " for index in range(20)]
SCRIPTS = {
    "gpt-4o-mini": Script(WORDS, first_piece=(0.02, 0.06), gap=0.003),
    "gpt-4o": Script(WORDS, first_piece=(1.5, 1.6), gap=0.01),
    "cut": Script(WORDS, first_piece=0.02, gap=0.003, ending="cut", ends_after=12),
    "overloaded": Script(ending="http_error", status=503, error_type="overloaded_error"),
    "stalling": Script(WORDS[:10], gap=0.003, pauses={5: 2.0}),
    "long": Script([f"w{index} " for index in range(600)], gap=0.001),
    "fields": Script(gap=0.003),
}
# In this order: a long stream keeps others from reading, who would then not wait for what stalls.
TIMES = {"long": 1, "gpt-4o-mini": 24, "gpt-4o": 22, "cut": 4, "overloaded": 3, "stalling": 2}


@dataclass(frozen=True)
class Recorded:
    """``generations`` are the spans as the SDK had them, ``exchanges`` what the provider wrote down."""

    directory: Path
    database: Path
    lines: Path
    document: Path
    zipped: Path
    generations: list[Generation]
    exchanges: list[Exchange]

    def of(self, model: str) -> list[Generation]:
        return [each for each in self.generations if each.attributes["gen_ai.request.model"] == model]

    def sent(self, model: str) -> list[Exchange]:
        return [each for each in self.exchanges if each.model == model]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from otel_tokenstream.viewer import running

    directory = tmp_path_factory.mktemp("recorded")
    database = directory / "viewer.db"
    with running(database=database) as viewer, ScriptedProvider() as provider:
        provider.scripts.update(SCRIPTS)
        asyncio.run(_read(provider, "gpt-4o-mini"))  # the first call of a process imports for seconds
        provider.log.settled()
        provider.log.clear()
        with capture(stall_threshold=0.4) as captured:
            exporter = OTLPSpanExporter(f"{viewer.url}/v1/traces")
            captured.tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
            asyncio.run(_litellm(provider))
            _dspy(provider)
            gc.collect()
            generations, spans = captured.generations, captured.spans
        exchanges = provider.log.settled(sum(TIMES.values()) + 1)
    documents = [_as_collector_json(spans[at : at + 16]) for at in range(0, len(spans), 16)]
    lines, document, zipped = (directory / name for name in ("traces.jsonl", "request.json", "traces.json.gz"))
    lines.write_text("".join(json.dumps(each) + "\n" for each in documents))
    document.write_text(json_format.MessageToJson(encode_spans(spans)))  # indented; ids in base64, enums by name
    zipped.write_bytes(gzip.compress(lines.read_bytes()))
    return Recorded(directory, database, lines, document, zipped, generations, exchanges)


_ASKED = [{"role": "user", "content": "Say something."}]


def _about(provider: ScriptedProvider) -> dict[str, Any]:
    return {"api_base": provider.base_url, "api_key": "none", "num_retries": 0, "max_retries": 0}


async def _read(provider: ScriptedProvider, model: str) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}, **_about(provider)}
    with contextlib.suppress(*([Exception] if model in {"cut", "overloaded"} else [])):
        async for _ in await litellm.acompletion(f"openai/{model}", _ASKED, **asked):
            pass


async def _litellm(provider: ScriptedProvider) -> None:
    waiting = [model for model, times in TIMES.items() for _ in range(times)]
    for start in range(0, len(waiting), 8):
        await asyncio.gather(*(_read(provider, model) for model in waiting[start : start + 8]))


def _dspy(provider: ScriptedProvider) -> None:
    import dspy
    from dspy.streaming import StreamListener

    program = dspy.streamify(
        dspy.ChainOfThought("question -> answer"),
        stream_listeners=[StreamListener("reasoning"), StreamListener("answer")],
        async_streaming=False,
    )
    language_model = dspy.LM("openai/fields", cache=False, api_base=provider.base_url, api_key="none")
    with dspy.context(lm=language_model):
        for _ in program(question="Why is the sky blue?"):
            pass


def _as_collector_json(spans: Any) -> dict[str, Any]:
    """As the Collector writes it: ids in hexadecimal, enums as numbers."""
    tree: dict[str, Any] = json_format.MessageToDict(encode_spans(spans), use_integers_for_enums=True)
    for resource in tree["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = base64.b64decode(span[name]).hex()
    return tree
