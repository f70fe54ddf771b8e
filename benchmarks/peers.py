"""What peers add to each read, by the same loop as read_path.py.

Run with the interpreter of an environment that has the peer and litellm:
``python benchmarks/peers.py util-genai`` needs opentelemetry-util-genai and the SDK,
``python benchmarks/peers.py openinference`` needs openinference-instrumentation-litellm and the SDK.
"""

from __future__ import annotations

import sys

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prebuilt import adrain, chunks, compare, drain


def util_genai(tracing, metering):
    from opentelemetry.util.genai.handler import TelemetryHandler
    from opentelemetry.util.genai.stream import AsyncStreamWrapper, SyncStreamWrapper

    handler = TelemetryHandler(tracing, metering)

    class Hooks:
        def _process_chunk(self, chunk):
            for choice in chunk.choices:
                if choice.delta.content:
                    self._self_text.append(choice.delta.content)

        def _on_stream_end(self):
            self._self_invocation.stop()

        def _on_stream_error(self, error):
            self._self_invocation.fail(error)

    class Sync(Hooks, SyncStreamWrapper):
        pass

    class Async(Hooks, AsyncStreamWrapper):
        pass

    def wrap(kind):
        def wrapper(source):
            invocation = handler.inference("openai", request_model="bench")
            wrapped = kind(source, invocation)
            wrapped._self_text = []
            return wrapped

        return wrapper

    return wrap(Sync), wrap(Async)


def openinference(tracing, _):
    from openinference.instrumentation.litellm import (
        _finalize_streaming_span,
        _finalize_sync_streaming_span,
        _TracedAsyncStream,
        _TracedSyncStream,
    )

    tracer = tracing.get_tracer("bench")

    def sync(source):
        span = tracer.start_span("completion")
        return _TracedSyncStream(source, _finalize_sync_streaming_span(span, source), span)

    def asynchronous(source):
        span = tracer.start_span("acompletion")
        return _TracedAsyncStream(source, _finalize_streaming_span(span, source), span)

    return sync, asynchronous


def main() -> None:
    peer = sys.argv[1]
    providers = TracerProvider(), MeterProvider([InMemoryMetricReader()])
    sync, asynchronous = {"util-genai": util_genai, "openinference": openinference}[peer](*providers)
    made = chunks(100)
    compare(f"{peer}: sync", sync, made, 9, drain)
    compare(f"{peer}: async", asynchronous, made, 9, adrain)


if __name__ == "__main__":
    main()
