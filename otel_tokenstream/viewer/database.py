"""The database file: where it lies, who may read it, its tables."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.sources.viewer_database import (
    APPLICATION_ID,
    MAGIC,
    SCHEMA_VERSION,
    default_path,
    is_ours,
    version_of,
)
from otel_tokenstream.viewer import migration
from otel_tokenstream.viewer.stream_table import STREAMS

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA = f"""
CREATE TABLE spans (
    trace_id TEXT, span_id TEXT, parent_id TEXT, service TEXT, name TEXT, kind TEXT,
    start_ns INTEGER, end_ns INTEGER, status TEXT, status_message TEXT,
    attributes TEXT, events TEXT, resource TEXT, received_ns INTEGER, links TEXT,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX spans_received ON spans (received_ns);

{";".join(STREAMS)};

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

    An older version is brought to this one. Raises ValueError when the file is something else or of a later version,
    and leaves it as it is then.
    """
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o700)  # mkdir's own mode is cut by the umask and not given to parents
    elif path == default_path():
        path.parent.chmod(0o700)
    try:
        if _is_new(path):
            _create(path)
        else:
            _check(path)
    except sqlite3.OperationalError as error:
        message = f"{path} cannot be prepared: {error}"
        raise ValueError(message) from error
    except sqlite3.DatabaseError as error:
        raise ValueError(_not_ours(path)) from error
    for file in (path, *_beside(path)):
        if file.exists():
            file.chmod(0o600)


def _beside(path: Path) -> list[Path]:
    """The write-ahead log and its index."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]


def _is_new(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True


def _create(path: Path) -> None:
    # SQLite makes it readable by all, and gives the write-ahead log the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for file in _beside(path):  # of a database that was deleted: SQLite would write it into the new one
        file.unlink(missing_ok=True)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} COMMIT;")


def _check(path: Path) -> None:
    with path.open("rb") as file:  # opening it with SQLite might already change a foreign file
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(_not_ours(path))
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
        ours = is_ours(connection)
        marked = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
        empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        version = version_of(connection)
    if empty:  # its creation was cut off
        _create(path)
    elif not ours:
        raise ValueError(_not_ours(path))
    elif not marked or version != SCHEMA_VERSION:
        with closing(connect(path)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migration.migrate(connection)


Identity = tuple[int, int] | None


def identity(path: Path) -> Identity:
    """Tells the file at ``path`` from one that takes its place; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _not_ours(path: Path) -> str:
    return f"{path} is not a viewer database of this version; name another file with --database or move it away"


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    return connection
