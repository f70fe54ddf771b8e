"""The report over traces that a real Tempo holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from pathlib import Path

import litellm
import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tokenstream import signals
from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.report import Question, Tempo, answer
from otel_tokenstream.analysis.sources import SourceError, tempo
from otel_tokenstream.cli import main
from otel_tokenstream.demo.children import Children
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from otel_tokenstream.testing import capture
from tests.stack.ask import traceql
from tests.stack.servers import PATIENCE, Stack, wait_until

pytestmark = pytest.mark.tempo

STREAMS = 24
OLD = 90
WORDS = [f"word{index} " for index in range(12)]


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory(prefix="tempo-") as directory, Children(Path(directory)) as children:
        stack = Stack(Path(directory), children)
        name, process, path = stack.start_tempo()
        children.ready(name, process, f"{stack.url(name)}{path}", within=180 * PATIENCE)
        yield stack


@pytest.fixture(scope="module")
def recorded(server, tmp_path_factory):
    """Real streams in Tempo, and the same spans in a file."""
    with ScriptedProvider() as provider, capture() as captured:
        provider.scripts["fast"] = Script(WORDS, first_piece=0.02, gap=0.003)
        provider.scripts["broken"] = Script(WORDS, first_piece=0.02, gap=0.003, ending="cut", ends_after=5)
        exporter = OTLPSpanExporter(f"{server.url('tempo-otlp')}/v1/traces")
        captured.tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
        asyncio.run(_streams(provider))
        captured.tracer_provider.force_flush()
        spans = captured.spans
    path = tmp_path_factory.mktemp("recorded") / "spans.json"
    path.write_text(json_format.MessageToJson(encode_spans(spans)))
    _wait_for(server, "{ span.gen_ai.request.model = `fast` }", STREAMS)
    _wait_for(server, "{ span.gen_ai.request.model = `broken` }", 2)
    return path


async def _streams(provider):
    async def read(model):
        with contextlib.suppress(*([Exception] if model == "broken" else [])):
            async for _ in await litellm.acompletion(
                f"openai/{model}",
                [{"role": "user", "content": "x"}],
                stream=True,
                stream_options={"include_usage": True},
                api_base=provider.base_url,
                api_key="none",
                num_retries=0,
                max_retries=0,
            ):
                pass

    for start in range(0, STREAMS, 8):
        await asyncio.gather(*(read("fast") for _ in range(start, start + 8)))
    await asyncio.gather(read("broken"), read("broken"))


@pytest.fixture(scope="module")
def spread(server):
    """Streams that began over the last minute and a half, one a second; Tempo takes no much older ones."""
    tracers = TracerProvider(resource=Resource.create({"service.name": "spread"}))
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{server.url('tempo-otlp')}/v1/traces")))
    now = time.time_ns()
    for index in range(OLD):
        start = now - (10 + index) * 10**9
        attributes = {signals.OUTCOME: "completed", signals.REQUEST_MODEL: "spread", signals.CHUNKS: index}
        tracers.get_tracer("test").start_span("chat spread", start_time=start, attributes=attributes).end(start + 10**8)
    tracers.shutdown()
    _wait_for(server, "{ span.gen_ai.request.model = `spread` }", OLD)


def _wait_for(server, query, count):
    def found():
        return len(traceql(server.url("tempo"), query, time.time() - 3600)) == count

    wait_until(found, 120, every=1, what=f"{count} traces of {query}")


def test_tempos_streams_are_those_of_the_file(server, recorded):
    """Every figure is the same: Tempo gives spans and events as they were sent."""
    where = "{ span.gen_ai.request.model =~ `fast|broken` }"
    from_tempo = answer(Question(tempo=Tempo(server.url("tempo"), where), by=("model", "outcome")))
    from_file = answer(Question(files=(recorded,), by=("model", "outcome")))
    assert from_file.total.streams == STREAMS + 2
    assert from_tempo.groups == from_file.groups
    assert from_tempo.total == from_file.total
    assert from_tempo.notes == []


@pytest.mark.usefixtures("spread")
def test_a_search_that_is_cut_off_goes_on_where_it_ended(server):
    """With 8 answers at most, all 90 of two days are still found, each once."""
    now = int(time.time())
    query = "{ span.gen_ai.request.model = `spread` }"
    recording = Recording()
    tempo.Tempo(server.url("tempo"), now - 2 * 86400, now + 1, query, page=8).read(recording)
    assert sorted(stream.chunks for stream in recording.streams()) == list(range(OLD))
    assert recording.notes == []


@pytest.mark.usefixtures("spread")
def test_the_newest_are_taken_where_there_are_too_many(server):
    """And the report says that there were more."""
    now = int(time.time())
    recording = Recording()
    query = "{ span.gen_ai.request.model = `spread` }"
    tempo.Tempo(server.url("tempo"), now - 3600, now + 1, query, limit=20, page=8).read(recording)
    chunks = [stream.chunks for stream in recording.streams()]
    assert len(chunks) == 20
    assert max(chunks) <= 20, "the newest ones have the lowest numbers"
    assert "only the newest 20 traces" in recording.notes[0]


@pytest.mark.usefixtures("recorded")
def test_the_command_reads_tempo(server, capsys):
    """As its help shows it."""
    words = ["report", "--tempo", server.url("tempo"), "--since", "30m", "--where", "model=fast", "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["total"]["streams"] == STREAMS
    assert report["sources"] == [server.url("tempo")]


def test_a_wrong_query_is_told_with_tempos_words(server):
    """Its parser knows best what is wrong."""
    with pytest.raises(SourceError, match=r"answers 400 .*parse error.*is the query right\?"):
        answer(Question(tempo=Tempo(server.url("tempo"), "{ span. }")))
