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

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, signals, stream_fields

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


def dspy_asked_as_stream() -> None:
    """Plain calls, sync and async, that are streamed underneath, and one that finds its answer in DSPy's cache."""
    instrument()
    import dspy

    dspy.configure(lm=dspy.LM("openai/human", api_base=base_url, api_key="none", cache=True), track_usage=True)
    program = dspy.ChainOfThought("question -> answer")
    plain = program(question="Why is the sky red?", config={"cache": False})
    with stream_fields(["answer"]):
        streamed = program(question="Why is the sky red?", config={"temperature": 0.0})
        cached = program(question="Why is the sky red?", config={"temperature": 0.0})
        awaited = asyncio.run(program.acall(question="Why is the sky green?"))
    assert plain.toDict() == streamed.toDict() == cached.toDict(), (plain, streamed, cached)
    assert plain.get_lm_usage() == streamed.get_lm_usage(), (plain.get_lm_usage(), streamed.get_lm_usage())
    assert awaited.answer
    assert dspy.settings.lm.history[0]["cost"] == dspy.settings.lm.history[1]["cost"]


def dspy_broken_off() -> None:
    """The first answer of each way breaks off, and whoever retries in this version asks again."""
    instrument()
    import dspy

    program = dspy.ChainOfThought("question -> answer")
    for model in ("sync", "async"):
        dspy.configure(lm=dspy.LM(f"openai/{model}", api_base=base_url, api_key="none", cache=False, num_retries=2))
        with stream_fields(["answer"]):
            question = {"question": "Why is the sky red?"}
            assert (program(**question) if model == "sync" else asyncio.run(program.acall(**question))).answer


def dspy_steps() -> None:
    """An agent with a tool, a retriever, and Evaluate, which is quiet."""
    instrument()
    import dspy

    class Retriever(dspy.Retrieve):
        def forward(self, query: str, k: int | None = None) -> Any:
            return dspy.Prediction(passages=[query] * (k or self.k))

    def look_up(city: str) -> str:
        return f"It rains in {city}."

    dspy.configure(lm=dspy.LM("openai/human", api_base=base_url, api_key="none", cache=False))
    program = dspy.Predict("question -> answer")
    examples = [dspy.Example(question="Why?").with_inputs("question")]
    dspy.Evaluate(devset=examples, metric=lambda *_: True, num_threads=1)(program)
    Retriever(k=2)("Why?")
    dspy.Tool(look_up)(city="Oslo")


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
