"""Bytes of a stream on the wire and in Tempo, against one event for each token; and whether any limit bites.

    python benchmarks/stack_bytes.py

Needs the components of tests/stack (built on first use) and a Tempo server, as its tests do. Streams of
50, 500 and 5,000 tokens come from the scripted provider through litellm; the rival is a span with the same
attributes and one event a token. Each kind is sent as batches of 512 spans by gRPC, the SDK's default size,
and the smaller limit of 4 MiB is asked of the messages themselves.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "stack"), str(ROOT)]
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import ask  # noqa: E402
import grpc  # noqa: E402
import litellm  # noqa: E402
import servers  # noqa: E402
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from otel_tokenstream import LiteLLMInstrumentor, signals  # noqa: E402
from otel_tokenstream.demo.children import Children  # noqa: E402
from otel_tokenstream.demo.provider import Script, ScriptedProvider  # noqa: E402

LENGTHS = (50, 500, 5000)
BATCH = 512
GRPC_LIMIT, TRACE_LIMIT, STRING_LIMIT = 4 * 1024**2, 5_000_000, 2048


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
    """Return a message of so many copies, each a trace of its own."""
    whole = type(message).FromString(message.SerializeToString())
    scope = whole.resource_spans[0].scope_spans[0]
    (span,) = scope.spans
    del scope.spans[:]
    for _ in range(number):
        copy = scope.spans.add()
        copy.CopyFrom(span)
        copy.trace_id, copy.span_id = os.urandom(16), os.urandom(8)
        copy.ClearField("parent_span_id")
    return whole


def on_disk(directory):
    return sum(path.stat().st_size for path in directory.rglob("data.parquet"))


def stored(directory, kind, message, spans):
    """Return bytes a span in Tempo's own format, in a Tempo of its own behind the shipped Collector."""
    home = directory / kind
    home.mkdir()
    with Children(home) as children:
        stack = servers.Stack(home, children)
        name, process, path = stack.start_tempo()
        children.ready(name, process, f"{stack.url(name)}{path}", within=120)
        collector = stack.collector("collector", *(servers.LAYERS / f"{layer}.yaml" for layer in ("base", "local")))
        request = otlp.ExportTraceServiceRequest.FromString(batch(message, spans).SerializeToString())
        with grpc.insecure_channel(collector.grpc, [("grpc.max_send_message_length", -1)]) as channel:
            try:
                service.TraceServiceStub(channel).Export(request, timeout=60)
            except grpc.RpcError as refused:
                return None, str(refused.code())
        numbers = {}

        def settled():
            text = ask.get(f"{stack.url('tempo')}/metrics").text
            for line in text.splitlines():
                if line.startswith(("tempo_discarded_spans_total", "tempo_distributor_spans_received_total")):
                    numbers[line.rsplit(" ", 1)[0].split("{")[0]] = float(line.rsplit(" ", 1)[1])
            received = numbers.get("tempo_distributor_spans_received_total", 0)
            return received >= spans and on_disk(home / "tempo") > 0

        servers.wait_until(settled, 150, every=1, what=f"{spans} spans in a block of Tempo")
        time.sleep(8)
        lost = numbers.get("tempo_discarded_spans_total", 0)
        return on_disk(home / "tempo") / spans, f"lost {lost:g}"


def main():
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    LiteLLMInstrumentor().instrument(tracer_provider=tracers)
    print("tokens  kind             OTLP B  gzip B  Tempo B  512-span batch  of 4 MiB  longest string  by the way")
    with ScriptedProvider() as provider, tempfile.TemporaryDirectory() as directory:
        for tokens in LENGTHS:
            ours = one_span(provider, tokens, exporter)
            for kind, message in (("ours", ours), ("event per token", event_per_token(ours, tokens))):
                spans = BATCH if kind == "ours" else max(8, BATCH * 50 // tokens)
                packed = batch(message, BATCH if kind == "ours" or tokens <= 500 else 64)
                number = len(packed.resource_spans[0].scope_spans[0].spans)
                whole = packed.SerializeToString()
                size, note = stored(Path(directory), f"{kind.replace(' ', '-')}-{tokens}", message, spans)
                strings = [
                    len(each.value.string_value)
                    for span in packed.resource_spans[0].scope_spans[0].spans[:1]
                    for each in span.attributes
                ]
                of_batch = len(whole) / number * BATCH
                print(
                    f"{tokens:6}  {kind:15} {len(whole) / number:7.0f} {len(gzip.compress(whole)) / number:7.0f}"
                    f" {size or 0:8.0f} {of_batch:15,.0f} {of_batch / GRPC_LIMIT:8.0%} {max(strings):15}  {note}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
