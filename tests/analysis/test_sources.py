from __future__ import annotations

import gzip
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.report import NothingFoundError, Question, answer
from otel_tokenstream.analysis.sources import SourceError, otlp_file, viewer_database
from otel_tokenstream.viewer import running

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.analysis.stream import Stream
    from tests.analysis.conftest import Recorded


def request(model: str = "m", span_id: str = "b" * 16) -> dict[str, Any]:
    attributes = {signals.OUTCOME: "completed", signals.REQUEST_MODEL: model}
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    span = {
        "traceId": "A" * 32,
        "spanId": span_id,
        "startTimeUnixNano": "1800000000000000000",
        "endTimeUnixNano": "1800000001000000000",
        "attributes": [*pairs, {"key": signals.CHUNKS, "value": {"intValue": "3"}}],
    }
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}


def read(path: Path) -> list[Stream]:
    recording = Recording()
    otlp_file.read(path, recording)
    return recording.streams()


def test_every_source_gives_the_same_streams(recorded: Recorded) -> None:
    """The viewer's database, lines, one message and gzipped lines hold the same recording."""
    of_database = Recording()
    viewer_database.read(recorded.database, of_database)
    streams = of_database.streams()
    assert len(streams) == len(recorded.generations)
    for path in (recorded.lines, recorded.document, recorded.zipped):
        assert read(path) == streams


def test_a_database_is_read_while_the_viewer_writes(recorded: Recorded, tmp_path: Path) -> None:
    """Reading takes no lock and leaves the file as it was."""
    with running(database=tmp_path / "viewer.db") as viewer:
        import urllib.request

        for line in recorded.lines.read_bytes().splitlines():
            headers = {"Content-Type": "application/json"}
            asked = urllib.request.Request(f"{viewer.url}/v1/traces", line, headers)
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as response:
                assert response.status == 200
            recording = Recording()
            viewer_database.read(tmp_path / "viewer.db", recording)
            assert recording.streams()
        assert len(recording.streams()) == len(recorded.generations)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """It is named, and left alone."""
    path = tmp_path / "notes.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text)")
    connection.close()
    with pytest.raises(SourceError, match=r"notes\.db is not a viewer database of this version: its version is unset"):
        answer(Question(files=(path,)))


def test_a_list_of_messages_and_an_answer_of_tempo_are_read(tmp_path: Path) -> None:
    """Exports of other tools come in these wrappings."""
    first, second = request(), request(span_id="c" * 16)
    for document in ([first, second], [{"trace": first}, {"batches": second["resourceSpans"]}]):
        path = tmp_path / "export.json"
        path.write_text(json.dumps(document, indent=2))
        assert [stream.span_id for stream in read(path)] == ["b" * 16, "c" * 16]


def test_metrics_and_other_logs_are_passed_over(tmp_path: Path) -> None:
    """One file may carry every signal."""
    path = tmp_path / "all.jsonl"
    record = {"body": {"stringValue": "hello"}, "attributes": [], "traceId": "", "spanId": ""}
    lines = [{"resourceMetrics": []}, {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}, request(), {}]
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    (stream,) = read(path)
    assert (stream.trace_id, stream.model, stream.chunks, stream.service) == ("a" * 32, "m", 3, "shop")


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    """File, line and column, and what kind of file would do."""
    path = tmp_path / "broken.jsonl"
    path.write_text(f'{json.dumps(request())}\n{{"resourceSpans": [}}\n{json.dumps(request())}\n')
    with pytest.raises(SourceError, match=r"broken\.jsonl, line 2, column 20: .*format: json"):
        read(path)


def test_a_line_that_is_no_otlp_is_named(tmp_path: Path) -> None:
    """JSON of something else, and OTLP of the wrong shape."""
    path = tmp_path / "other.jsonl"
    for wrong in ({"level": "info"}, {"resourceSpans": 3}, 7, {"resourceSpans": [{"scopeSpans": [{"spans": ["x"]}]}]}):
        path.write_text(f"{json.dumps(request())}\n{json.dumps(wrong)}\n")
        with pytest.raises(SourceError, match=r"other\.jsonl, line 2: not OTLP in JSON"):
            read(path)


def test_an_unfinished_last_line_is_left_out_and_said(tmp_path: Path) -> None:
    """A Collector may still be writing."""
    path = tmp_path / "growing.jsonl"
    path.write_text(f"{json.dumps(request())}\n{json.dumps(request())[:100]}")
    report = answer(Question(files=(path,)))
    assert report.total.streams == 1
    assert ["incomplete" in note for note in report.notes] == [True]


@pytest.mark.parametrize(
    "content",
    [b"\x0a\xff\xfe\x00protobuf", b"(\xb5/\xfd\x04zstd", gzip.compress(b"\xff" * 9)],
    ids=["protobuf", "zstd", "gzip"],
)
def test_a_file_that_is_no_text_says_which_format_to_choose(tmp_path: Path, content: bytes) -> None:
    """Protobuf and zstd are the exporter's other formats."""
    path = tmp_path / "traces.bin"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"traces\.bin: not text; .*format: json"):
        read(path)


def test_a_torn_archive_is_named(tmp_path: Path) -> None:
    """Half a gzip file is an error, not half a report."""
    path = tmp_path / "torn.jsonl.gz"
    lines = "\n".join(json.dumps(request(span_id=f"{number:016x}")) for number in range(1, 2000))
    path.write_bytes(gzip.compress(lines.encode())[:-400])
    with pytest.raises(SourceError, match=r"torn\.jsonl\.gz"):
        read(path)


def test_only_streams_that_began_since_then_are_reported(tmp_path: Path) -> None:
    """An old recording within a short time has nothing, and the message says so."""
    path = tmp_path / "old.jsonl"
    path.write_text(json.dumps(request()).replace("18000000", "16000000") + "\n")
    assert answer(Question(files=(path,))).total.streams == 1
    with pytest.raises(NothingFoundError, match="a longer --since"):
        answer(Question(files=(path,), since_s=3600))
