"""The report over the file that a real Collector writes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import litellm
import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tokenstream.analysis.report import NothingFoundError, Question, answer
from otel_tokenstream.demo.children import Children
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from otel_tokenstream.testing import capture
from tests.stack.servers import LAYERS, Stack, wait_until

HERE = Path(__file__).parent
STREAMS = 6


@pytest.fixture(scope="module")
def collector():
    with tempfile.TemporaryDirectory(prefix="collector-") as directory, Children(Path(directory)) as children:
        stack = Stack(Path(directory), children)
        yield stack.collector("writing", LAYERS / "base.yaml", HERE / "capture.yaml")


def test_the_collectors_files_give_the_figures_of_the_spans(collector, tmp_path):
    """Traces from one file and token events from the other: what the program sent without a Collector."""
    with ScriptedProvider() as provider, capture(events="log") as captured:
        provider.scripts["m"] = Script([f"w{index} " for index in range(12)], first_piece=0.02, gap=0.003)
        spans = BatchSpanProcessor(OTLPSpanExporter(f"{collector.http}/v1/traces"))
        records = BatchLogRecordProcessor(OTLPLogExporter(f"{collector.http}/v1/logs"))
        captured.tracer_provider.add_span_processor(spans)
        captured.logger_provider.add_log_record_processor(records)
        about = {"api_base": provider.base_url, "api_key": "none", "stream": True}
        for _ in range(STREAMS):
            list(litellm.completion("openai/m", [{"role": "user", "content": "x"}], **about))
        captured.tracer_provider.force_flush()
        captured.logger_provider.force_flush()
        generations, logged = captured.generations, captured.logs
        sent = tmp_path / "sent.json"
        sent.write_text(json.dumps(json_format.MessageToDict(encode_spans(captured.spans))))
    traces, logs = collector.out / "traces.json", collector.out / "logs.json"

    def written():
        try:
            report = answer(Question(files=(traces, logs)))
        except NothingFoundError:
            return None
        # Spans say first tokens in whole milliseconds, records in microseconds.
        from_records = sum(not first.is_integer() for first in report.total.curves.get("first_token_ms", ()))
        return report if report.total.streams == STREAMS and from_records >= STREAMS - 1 else None

    report = wait_until(written, 30, what="all spans and records in the Collector's files")
    alone = answer(Question(files=(sent,)))
    assert logged
    assert report.total.measures["duration_ms"] == alone.total.measures["duration_ms"]
    assert report.total.outcomes == alone.total.outcomes == {"completed": len(generations)}
    exact, rounded = (each.total.curves["first_token_ms"] for each in (report, alone))
    assert exact == pytest.approx(rounded, abs=0.51)
