"""A database of an earlier version is brought to this one, and nothing in it is lost."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.analysis.report import Question, answer
from otel_tokenstream.viewer import database, running, stream_table
from otel_tokenstream.viewer.store import Store
from tests.viewer.viewer_client import detail, get, streams

if TYPE_CHECKING:
    from pathlib import Path

VERSION_1 = """
CREATE TABLE spans (
    trace_id TEXT, span_id TEXT, parent_id TEXT, service TEXT, name TEXT, kind TEXT,
    start_ns INTEGER, end_ns INTEGER, status TEXT, status_message TEXT,
    attributes TEXT, events TEXT, resource TEXT, received_ns INTEGER,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX spans_received ON spans (received_ns);
CREATE TABLE streams (
    trace_id TEXT, span_id TEXT, service TEXT, operation TEXT, provider TEXT, model TEXT,
    start_ns INTEGER, outcome TEXT, fields TEXT, progress TEXT, received_ns INTEGER,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX streams_start ON streams (start_ns);
CREATE INDEX streams_choices ON streams (service, model, outcome);
CREATE INDEX streams_received ON streams (received_ns);
CREATE TABLE records (
    trace_id TEXT, span_id TEXT, service TEXT, name TEXT, time_ns INTEGER, severity TEXT,
    body TEXT, attributes TEXT, received_ns INTEGER
);
CREATE INDEX records_span ON records (trace_id, span_id);
CREATE INDEX records_received ON records (received_ns);
CREATE TABLE points (
    series TEXT PRIMARY KEY, service TEXT, name TEXT, unit TEXT, kind TEXT, time_ns INTEGER,
    attributes TEXT, resource TEXT, value TEXT, received_ns INTEGER
);
CREATE INDEX points_name ON points (name);
CREATE INDEX points_received ON points (received_ns);
PRAGMA user_version = 1;
"""
START_NS = 1_790_000_000 * 10**9
ENDED, OPEN, DAMAGED = (f"{number:016x}" for number in (1, 2, 3))
TRACE = "a" * 32


@pytest.fixture(params=[0, 0x746F6B73], ids=["without a mark", "marked"])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """As version 1 wrote it: an ended stream, one in progress, one whose attributes are damaged."""
    path = tmp_path / "viewer.db"
    attributes = {
        signals.OPERATION_NAME: "chat",
        signals.REQUEST_MODEL: "gemma",
        signals.OUTCOME: "completed",
        signals.CHUNKS: 7,
        signals.TIME_TO_FIRST_TOKEN_MS: 321,
        signals.FINISH_REASONS: ["stop"],
        signals.COST_USD: 0.25,
        signals.CONVERSATION_ID: "talk",
        "customer.tier": "gold",
    }
    token = {signals.AT_OFFSET_US: 5000, signals.AT_INDEX: 0, signals.AT_GAP_US: 0, signals.AT_FIELD: "answer"}
    progress = {"chunks": 1, "last_us": 5000, "first_token_us": 5000, "stalls": {}}
    now_ns = time.time_ns()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(VERSION_1)
        connection.execute(f"PRAGMA application_id = {request.param}")
        for span_id, text in ((ENDED, json.dumps(attributes)), (DAMAGED, '{"torn": ')):
            connection.execute(
                "INSERT INTO spans VALUES (?, ?, '', 'shop', 'chat gemma', 'client', ?, ?, 'unset', '', ?, '[]', ?, ?)",
                (
                    TRACE,
                    span_id,
                    START_NS,
                    START_NS + 10**9,
                    text,
                    '{"service.name": "shop", "host.name": "larch"}',
                    now_ns,
                ),
            )
        for number, (span_id, outcome) in enumerate([(DAMAGED, "failed"), (OPEN, None), (ENDED, "completed")]):
            connection.execute(
                "INSERT INTO streams VALUES (?, ?, 'shop', 'chat', '', 'gemma', ?, ?, '[\"answer\"]', ?, ?)",
                (TRACE, span_id, START_NS, outcome, None if outcome else json.dumps(progress), now_ns + number),
            )
        connection.execute(
            "INSERT INTO records VALUES (?, ?, 'shop', ?, ?, '', 'null', ?, ?)",
            (TRACE, OPEN, signals.TOKEN_EVENT, START_NS, json.dumps(token), now_ns),
        )
        point = "INSERT INTO points VALUES ('s', 'shop', 'm', '1', 'gauge', 1, '{}', '{}', '1', ?)"
        connection.execute(point, (now_ns,))
        connection.commit()
    return path


def content(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as connection:
        names = ("spans", "records", "points", "streams")
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in names}


def test_an_older_database_keeps_everything(old: Path) -> None:
    """Streams with their figures, found by their words; spans, log records and metrics as they were."""
    before = content(old)
    with running(database=old, retention_days=36500) as viewer:
        listed = {stream["span_id"]: stream for stream in streams(viewer)}
        assert set(listed) == {ENDED, OPEN, DAMAGED}
        ended, waiting, damaged = (listed[span_id] for span_id in (ENDED, OPEN, DAMAGED))
        assert (ended["chunks"], ended["time_to_first_token_ms"], ended["duration_ms"]) == (7, 321, 1000)
        assert (ended["finish_reason"], ended["cost_usd"], ended["conversation"]) == ("stop", 0.25, "talk")
        assert (waiting["chunks"], waiting["outcome"], waiting["fields"]) == (1, None, ["answer"])
        assert (damaged["outcome"], damaged["model"], damaged["chunks"]) == ("failed", "gemma", None)
        assert [stream["span_id"] for stream in streams(viewer, "q=gold+larch")] == [ENDED]
        assert [event["offset_us"] for event in detail(viewer, (TRACE, OPEN))["events"]] == [5000]
        assert get(viewer, "/api/metrics")["metrics"] == ["m"]
    after = content(old)
    assert after["spans"] == [(*row, None) for row in before["spans"]]  # links, which were not kept
    assert {name: after[name] for name in ("records", "points")} == {
        name: before[name] for name in ("records", "points")
    }
    again = Store(old)
    again.close()
    assert content(old) == after


def test_an_older_database_is_reported_on_without_being_changed(old: Path) -> None:
    """Reading figures must not need the viewer, nor write."""
    before = content(old)
    assert answer(Question(files=(old,))).total.streams == 1
    assert content(old) == before


def test_a_failed_migration_leaves_the_database_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk on the way: the old version stays, and a later start brings it over."""
    before = content(old)
    with monkeypatch.context() as patch:
        patch.setattr(stream_table, "STREAMS", (*stream_table.STREAMS, "INSERT INTO nowhere VALUES (1)"))
        with pytest.raises(ValueError, match=r"viewer\.db cannot be prepared: no such table"):
            database.prepare(old)
    assert content(old) == before
    Store(old).close()
    assert len(content(old)["streams"]) == 3
