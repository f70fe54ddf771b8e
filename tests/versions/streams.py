"""Streams through litellm and DSPy, instrumented, and prints their spans as JSON.

``python streams.py BASE_URL SCENARIO``, a process for each scenario: old versions of litellm keep a client
for the first event loop they see.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, signals

base_url, scenario = sys.argv[1:]
request: dict[str, Any] = {
    "model": "openai/human",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "max_tokens": 8,
    "api_base": base_url,
    "api_key": "none",
}


def litellm_sync() -> None:
    import litellm

    instrument()
    for _ in litellm.completion(**request, stream=True):
        pass


def litellm_sync_imported_before() -> None:
    from litellm import completion

    instrument()
    for _ in completion(**request, stream=True):
        pass


def litellm_async() -> None:
    instrument()
    import litellm

    asyncio.run(read(litellm.acompletion))


def litellm_async_imported_before() -> None:
    from litellm import acompletion

    instrument()
    asyncio.run(read(acompletion))


async def read(acompletion: Any) -> None:
    async for _ in await acompletion(**request, stream=True):
        pass


def dspy_streamed() -> None:
    instrument()
    import dspy
    from dspy.streaming import StreamListener

    dspy.configure(lm=dspy.LM("openai/human", api_base=base_url, api_key="none", cache=False))
    program: Any = dspy.streamify(
        dspy.ChainOfThought("question -> answer"),
        stream_listeners=[StreamListener("answer")],
        async_streaming=False,
    )
    for _ in program(question="Why is the sky blue?"):
        pass


def instrument() -> None:
    LiteLLMInstrumentor().instrument()
    DSPyInstrumentor().instrument()


exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
globals()[scenario]()
names = {span.context.span_id: span.name for span in exporter.get_finished_spans()}
spans = [
    {
        "name": span.name,
        "parent": names.get(span.parent.span_id) if span.parent else None,
        "outcome": (span.attributes or {}).get(signals.OUTCOME),
        "chunks": (span.attributes or {}).get(signals.CHUNKS),
        "fields": sorted(
            {str(event.attributes[signals.AT_FIELD]) for event in span.events if signals.AT_FIELD in event.attributes}
        ),
        "told": sum(
            event.attributes.get(signals.AT_COUNT, 1) for event in span.events if event.name == signals.TOKEN_EVENT
        ),
    }
    for span in exporter.get_finished_spans()
]
print(json.dumps(spans))
