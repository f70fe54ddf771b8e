"""The database file: where it lies, who may read it, its tables."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.sources.viewer_database import SCHEMA_VERSION, default_path

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = """
CREATE TABLE spans (
    trace_id TEXT, span_id TEXT, parent_id TEXT, service TEXT, name TEXT, kind TEXT,
    start_ns INTEGER, end_ns INTEGER, status TEXT, status_message TEXT,
    attributes TEXT, events TEXT, resource TEXT, received_ns INTEGER,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX spans_received ON spans (received_ns);

-- One row a generation, there from its first sign of life: its span, or a log event before it.
-- outcome is null until the span came; progress is JSON, from the log events alone.
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

-- The newest value of each series.
CREATE TABLE points (
    series TEXT PRIMARY KEY, service TEXT, name TEXT, unit TEXT, kind TEXT, time_ns INTEGER,
    attributes TEXT, resource TEXT, value TEXT, received_ns INTEGER
);
CREATE INDEX points_name ON points (name);
CREATE INDEX points_received ON points (received_ns);
"""


def prepare(path: Path) -> None:
    """Creates or checks the file: readable by its owner alone, tables of this version.

    Raises ValueError when the file is something else or of another version.
    """
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o700)  # mkdir's own mode is cut by the umask and not given to parents
    elif path == default_path():
        path.parent.chmod(0o700)
    # SQLite makes it readable by all, and gives the write-ahead log the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        with closing(connect(path)) as connection:
            _check_or_create(connection, path)
    except sqlite3.DatabaseError as error:
        raise ValueError(_not_ours(path)) from error
    for file in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))):
        if file.exists():
            file.chmod(0o600)


def _check_or_create(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ValueError(_not_ours(path))
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _not_ours(path: Path) -> str:
    return f"{path} is not a viewer database of this version; name another file with --database or move it away"


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection
