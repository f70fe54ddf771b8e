"""Streams through litellm and DSPy, which are imported once they are instrumented.

``python streams.py BASE_URL`` prints a line of JSON for each scenario: its spans, and where it failed the traceback.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import traceback
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, signals, stream_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

gc.disable()  # what is imported stays, and is a lot to look at
(base_url,) = sys.argv[1:]


def where(scenario: str) -> dict[str, Any]:
    """A key of its own: old versions of litellm keep a client by its key, for the first event loop it sees."""
    return {"api_base": base_url, "api_key": scenario}


def request(scenario: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Why is the sky blue?"}]
    return {"model": "openai/human", "messages": messages, "max_tokens": 8, "stream": True, **where(scenario)}


def litellm_sync() -> None:
    import litellm

    for _ in litellm.completion(**request("litellm_sync")):
        pass


def litellm_async() -> None:
    import litellm

    async def read() -> None:
        async for _ in await litellm.acompletion(**request("litellm_async")):
            pass

    asyncio.run(read())


def dspy_streamed() -> None:
    import dspy
    from dspy.streaming import StreamListener

    dspy.configure(lm=dspy.LM("openai/human", cache=False, **where("dspy_streamed")))
    program: Any = dspy.streamify(
        dspy.ChainOfThought("question -> answer"),
        stream_listeners=[StreamListener("answer")],
        async_streaming=False,
    )
    for _ in program(question="Why is the sky blue?"):
        pass


def dspy_asked_as_stream() -> None:
    """Plain calls, sync and async, that are streamed underneath, and one that finds its answer in DSPy's cache."""
    import dspy

    dspy.configure(lm=dspy.LM("openai/human", cache=True, **where("dspy_asked_as_stream")), track_usage=True)
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
    import dspy

    program = dspy.ChainOfThought("question -> answer")
    for model in ("sync", "async"):
        about = {"cache": False, "num_retries": 2, **where("dspy_broken_off")}
        dspy.configure(lm=dspy.LM(f"openai/{model}", **about))
        with stream_fields(["answer"]):
            question = {"question": "Why is the sky red?"}
            assert (program(**question) if model == "sync" else asyncio.run(program.acall(**question))).answer


def dspy_steps() -> None:
    """An agent with a tool, a retriever, and Evaluate, which is quiet."""
    import dspy

    class Retriever(dspy.Retrieve):
        def forward(self, query: str, k: int | None = None) -> Any:
            return dspy.Prediction(passages=[query] * (k or self.k))

    def look_up(city: str) -> str:
        return f"It rains in {city}."

    dspy.configure(lm=dspy.LM("openai/human", cache=False, **where("dspy_steps")))
    program = dspy.Predict("question -> answer")
    examples = [dspy.Example(question="Why?").with_inputs("question")]
    dspy.Evaluate(devset=examples, metric=lambda *_: True, num_threads=1)(program)
    Retriever(k=2)("Why?")
    dspy.Tool(look_up)(city="Oslo")


def told(spans: Sequence[ReadableSpan]) -> list[dict[str, Any]]:
    names = {span.context.span_id: span.name for span in spans}
    return [
        {
            "name": span.name,
            "parent": names.get(span.parent.span_id) if span.parent else None,
            "outcome": (span.attributes or {}).get(signals.OUTCOME),
            "chunks": (span.attributes or {}).get(signals.CHUNKS),
            "fields": sorted(
                {
                    str(event.attributes[signals.AT_FIELD])
                    for event in span.events
                    if signals.AT_FIELD in event.attributes
                }
            ),
            "told": sum(
                event.attributes.get(signals.AT_COUNT, 1) for event in span.events if event.name == signals.TOKEN_EVENT
            ),
        }
        for span in spans
    ]


exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
LiteLLMInstrumentor().instrument()
DSPyInstrumentor().instrument()
# The last one's settings of DSPy stay.
for scenario in (litellm_sync, litellm_async, dspy_streamed, dspy_broken_off, dspy_steps, dspy_asked_as_stream):
    exporter.clear()
    error = None
    try:
        scenario()
    except Exception:  # noqa: BLE001  # the others are run all the same
        error = traceback.format_exc()
    print(json.dumps({"scenario": scenario.__name__, "error": error, "spans": told(exporter.get_finished_spans())}))
