"""Runs model calls with other instrumentations in the process and prints the spans as JSON.

``python scene.py BASE_URL ORDER...``: an order is ``ours-http``, the instrumentations as they are switched on. Each has
a process of its own, a fork of this one, which has imported the libraries and instrumented nothing.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import tempfile
import threading
import traceback
from urllib.request import Request, urlopen

import dspy
import httpx
import litellm
import openai  # noqa: F401  # for all forks
import uvicorn
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor


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


def play(base_url, names):
    """The spans of each call."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
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
    return trees


def main():
    base_url, *orders = sys.argv[1:]
    litellm.token_counter("steady", text="hi")  # imports what a first call would, and starts no thread
    httpx.Client().close()
    gc.freeze()
    for order in orders:
        with tempfile.TemporaryFile("w+") as messages:
            child = os.fork()
            if child == 0:
                os.dup2(messages.fileno(), 2)
                status = 1
                try:
                    print(json.dumps({"order": order, "spans": play(base_url, order.split("-"))}), flush=True)
                    status = 0
                except BaseException:  # noqa: BLE001  # told by the parent
                    traceback.print_exc()
                sys.stderr.flush()
                os._exit(status)
            failed = os.waitpid(child, 0)[1]
            messages.seek(0)
            told = messages.read()
        if failed:
            sys.exit(f"{order}: {told}")
        print(json.dumps({"order": order, "messages": told}), flush=True)


main()
