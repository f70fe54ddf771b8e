"""Runs model calls with other instrumentations in the process and prints the spans as JSON.

``python scene.py BASE_URL NAME...``: the instrumentations in the order in which they are switched on.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from urllib.request import Request, urlopen

import uvicorn
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


def ours():
    LiteLLMInstrumentor().instrument()
    DSPyInstrumentor().instrument()


def genai():
    from opentelemetry.instrumentation.genai.dspy import DSPyInstrumentor as Official
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()
    Official().instrument()


def openinference():
    from openinference.instrumentation.dspy import DSPyInstrumentor as OpenInferenceDSPy
    from openinference.instrumentation.litellm import LiteLLMInstrumentor as OpenInferenceLiteLLM

    OpenInferenceLiteLLM().instrument()
    OpenInferenceDSPy().instrument()


def http():
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor

    HTTPXClientInstrumentor().instrument()
    HTTPX2ClientInstrumentor().instrument()
    AioHttpClientInstrumentor().instrument()


def calls(base_url):
    import dspy
    import litellm

    request = {
        "model": "openai/steady",
        "messages": [{"role": "user", "content": "hi"}],
        "api_base": base_url,
        "api_key": "none",
    }

    async def asynchronous():
        async for _ in await litellm.acompletion(**request, stream=True):
            pass

    def streamed(**engine):
        lm = dspy.LM("openai/steady", api_base=base_url, api_key="none", cache=False, **engine)
        with dspy.context(lm=lm):
            list(dspy.streamify(dspy.Predict("question -> answer"), async_streaming=False)(question="why?"))

    async def server(_, __, send):
        await send({"type": "http.response.start", "status": 200})
        async for chunk in await litellm.acompletion(**request, stream=True):
            piece = chunk.choices[0].delta.content or ""
            await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        await send({"type": "http.response.body"})

    yield "litellm stream", lambda: list(litellm.completion(**request, stream=True))
    yield "litellm async stream", lambda: asyncio.run(asynchronous())
    yield "litellm plain", lambda: litellm.completion(**request)
    yield "dspy native stream", streamed
    yield "dspy litellm stream", lambda: streamed(engine="litellm")
    yield "served stream", lambda: served(server)


def served(application):
    """One request to an instrumented server."""
    settings = uvicorn.Config(OpenTelemetryMiddleware(application), lifespan="off", log_level="error")
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = threading.Thread(target=server.run, args=([listening],))
        running.start()
        with urlopen(Request(f"http://127.0.0.1:{listening.getsockname()[1]}/ask", method="POST")) as answer:
            assert answer.read()
        server.should_exit = True
        running.join()


def main():
    base_url, *names = sys.argv[1:]
    for name in names:
        globals()[name]()
    trees = {}
    for title, call in calls(base_url):
        call()
        spans = exporter.get_finished_spans()
        exporter.clear()
        named = {span.context.span_id: span.name for span in spans}
        trees[title] = [
            {
                "name": span.name,
                "scope": span.instrumentation_scope.name,
                "parent": named.get(span.parent.span_id) if span.parent else None,
                "outcome": span.attributes.get("tokenstream.outcome"),
                "kind": span.kind.name,
            }
            for span in spans
        ]
    print(json.dumps(trees))


main()
