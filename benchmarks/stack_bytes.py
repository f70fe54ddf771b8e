"""Bytes of a stream on the wire and in Tempo, against one event for each token; and whether any limit bites.

    python benchmarks/stack_bytes.py

Needs the components of tests/stack (built on first use) and a Tempo server, as its tests do. Streams of
50, 500 and 5,000 tokens come from the scripted provider through litellm; the rival is a span with the same
attributes and one event a token. Each kind is sent as batches of 512 spans by gRPC, the SDK's default size,
and the smaller limit of 4 MiB is asked of the messages themselves.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import grpc  # noqa: E402
import litellm  # noqa: E402
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from otel_tokenstream import LiteLLMInstrumentor, signals  # noqa: E402
from otel_tokenstream.demo.children import Children  # noqa: E402
from otel_tokenstream.demo.provider import Script, ScriptedProvider  # noqa: E402
from tests.stack import ask, servers  # noqa: E402

LENGTHS = (50, 500, 5000)
BATCH = 512
GRPC_LIMIT = 4 * 1024**2


def one_span(provider, tokens, exporter):
    name = f"tokens-{tokens}"
    provider.scripts[name] = Script([f"word{number % 7} " for number in range(tokens)], gap=0.002)
    messages = [{"role": "user", "content": "x"}]
    options = {"api_base": provider.base_url, "api_key": "none", "stream_options": {"include_usage": True}}
    for _ in litellm.completion(model=f"openai/{name}", messages=messages, stream=True, **options):
        pass
    (span,) = exporter.get_finished_spans()
    exporter.clear()
    return encode_spans([span])


def event_per_token(message, tokens):
    """Return the same span with one event a token and no array."""
    rival = type(message).FromString(message.SerializeToString())
    span = rival.resource_spans[0].scope_spans[0].spans[0]
    example = next(event for event in span.events if event.name == signals.TOKEN_EVENT)
    kept = [each for each in span.attributes if each.key not in (signals.OFFSETS_US, signals.EVENT_MERGED)]
    del span.attributes[:]
    span.attributes.extend(kept)
    del span.events[:]
    step = (span.end_time_unix_nano - span.start_time_unix_nano) // tokens
    for number in range(tokens):
        event = span.events.add()
        event.CopyFrom(example)
        event.time_unix_nano = span.start_time_unix_nano + number * step
        values = {signals.AT_OFFSET_US: number * step // 1000, signals.AT_GAP_US: step // 1000 + number % 97}
        for attribute in event.attributes:
            if attribute.key in values:
                attribute.value.int_value = values[attribute.key]
            elif attribute.key == signals.AT_INDEX:
                attribute.value.int_value = number
            elif attribute.key == signals.AT_COUNT:
                attribute.key = signals.AT_WAIT_US
    return rival


def batch(message, number):
    """Return a message of so many such spans, each a trace of its own with a timing of its own."""
    whole = type(message).FromString(message.SerializeToString())
    scope = whole.resource_spans[0].scope_spans[0]
    (span,) = scope.spans
    del scope.spans[:]
    chance = random.Random(number)
    for _ in range(number):
        copy = scope.spans.add()
        copy.CopyFrom(span)
        copy.trace_id, copy.span_id = os.urandom(16), os.urandom(8)
        copy.ClearField("parent_span_id")
        for event in copy.events:
            event.time_unix_nano += chance.randrange(1_000_000)
            for attribute in event.attributes:
                if attribute.key.endswith("_us"):
                    attribute.value.int_value += chance.randrange(1000)
        for attribute in copy.attributes:
            for value in attribute.value.array_value.values:
                value.int_value += chance.randrange(1000) if value.HasField("int_value") else 0
    return whole


def on_disk(directory):
    return sum(path.stat().st_size for path in directory.rglob("data.parquet"))


class Store:
    """A Tempo of its own for one kind of spans, behind the shipped Collector."""

    def __init__(self, directory, children, message, spans):
        self._directory, self._spans = directory, spans
        self._stack = servers.Stack(directory, children)
        name, process, path = self._stack.start_tempo()
        children.ready(name, process, f"{self._stack.url(name)}{path}", within=120)
        layers = [servers.LAYERS / f"{layer}.yaml" for layer in ("base", "local")]
        collector = self._stack.collector("collector", *layers)
        request = otlp.ExportTraceServiceRequest.FromString(batch(message, spans).SerializeToString())
        self.refused = ""
        with grpc.insecure_channel(collector.grpc) as channel:
            try:
                service.TraceServiceStub(channel).Export(request, timeout=60)
            except grpc.RpcError as refused:
                self.refused = refused.code().name

    def bytes_of_a_span(self):
        """Wait until Tempo has written its block."""
        servers.wait_until(self._settled, 150, every=1, what=f"{self._spans} spans in a block of Tempo")
        return max(path.stat().st_size for path in self._directory.rglob("data.parquet")) / self._spans

    def lost(self):
        return self._counter("tempo_discarded_spans_total")

    def _settled(self):
        received = self._counter("tempo_distributor_spans_received_total") >= self._spans
        return received and list(self._directory.rglob("blocks/single-tenant/*/meta.json"))

    def _counter(self, name):
        text = ask.get(f"{self._stack.url('tempo')}/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def main():
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    LiteLLMInstrumentor().instrument(tracer_provider=tracers)
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(ScriptedProvider())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds = {}
        for tokens in LENGTHS:
            ours = one_span(provider, tokens, exporter)
            kinds[tokens, "ours"] = ours, BATCH
            kinds[tokens, "event per token"] = event_per_token(ours, tokens), max(4, min(BATCH, 20_000 // tokens))
        stores = {}
        for number, (kind, (message, spans)) in enumerate(kinds.items()):
            home = directory / str(number)
            home.mkdir()
            stores[kind] = Store(home, stack.enter_context(Children(home)), message, spans)
        print("tokens  kind             OTLP B  gzip B  Tempo B  512-span batch  of 4 MiB  longest string  lost")
        for (tokens, kind), (message, spans) in kinds.items():
            store = stores[tokens, kind]
            whole = batch(message, spans).SerializeToString()
            (span,) = message.resource_spans[0].scope_spans[0].spans
            longest = max(len(each.value.string_value) for each in span.attributes)
            of_batch = len(whole) / spans * BATCH
            print(
                f"{tokens:6}  {kind:15} {len(whole) / spans:7.0f} {len(gzip.compress(whole)) / spans:7.0f}"
                f" {store.bytes_of_a_span():8.0f} {of_batch:15,.0f} {of_batch / GRPC_LIMIT:8.0%} {longest:15}"
                f"  {store.refused or store.lost()}",
                flush=True,
            )


if __name__ == "__main__":
    main()
