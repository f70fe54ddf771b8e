"""The viewer's database: where it lies, which version, and how to read it while the viewer writes."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream import signals
from otel_tokenstream.analysis.sources import SourceError
from otel_tokenstream.analysis.stream import Span

if TYPE_CHECKING:
    from otel_tokenstream.analysis.recording import Recording

SCHEMA_VERSION = 2

APPLICATION_ID = 0x746F6B73
"""``toks`` in ASCII: tells the file from databases of other programs."""

TABLES = {
    "spans": "trace_id span_id parent_id service name kind start_ns end_ns status status_message attributes events "
    "resource received_ns",
    "records": "trace_id span_id service name time_ns severity body attributes received_ns",
    "points": "series service name unit kind time_ns attributes resource value received_ns",
}
"""Columns in their order that every version has."""

# Columns that come after these, by version. These versions are read; the viewer brings an older one to its own.
_ADDED: dict[int, dict[str, str]] = {1: {}, SCHEMA_VERSION: {"spans": " links"}}

_PROGRESS_ROWS = 500

MAGIC = b"SQLite format 3\0"


def default_path() -> Path:
    """The user's data directory by the platform's rules."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif os.environ.get("XDG_DATA_HOME"):
        base = Path(os.environ["XDG_DATA_HOME"])
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path.home() / ".local" / "share"
    return base / "otel-tokenstream" / "viewer.db"


def read(path: Path, recording: Recording) -> None:
    """Raises SourceError."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            if not is_ours(connection):
                version = version_of(connection)
                message = f"{path} is not a viewer database of this version: its version is {version or 'unset'}"
                if version in _ADDED:
                    message = f"{path} is not a viewer database: its tables are another program's"
                raise SourceError(message)
            read_from(connection, recording)
    except sqlite3.Error as error:
        message = f"{path}: {error}; is it a viewer database, and may you read it and its directory?"
        raise SourceError(message) from error


def is_ours(connection: sqlite3.Connection) -> bool:
    """By its marks and its tables: other programs number their versions from 1 as well."""
    added = _ADDED.get(version_of(connection))
    if added is None or _pragma(connection, _MARK) not in {APPLICATION_ID, _UNMARKED}:
        return False
    return all(
        " ".join(column[1] for column in connection.execute(f"PRAGMA table_info({table})"))
        == columns + added.get(table, "")
        for table, columns in TABLES.items()
    )


def version_of(connection: sqlite3.Connection) -> int:
    return _pragma(connection, "user_version")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


_MARK = "application_id"
_UNMARKED = 0  # as the first databases of version 1 are


def read_from(connection: sqlite3.Connection, recording: Recording) -> None:
    spans = connection.execute(
        "SELECT trace_id, span_id, parent_id, start_ns, end_ns, attributes, events, resource FROM spans"
    )
    count = connection.execute("SELECT count(*) FROM spans").fetchone()[0]
    left_out = 0
    for done, row in enumerate(spans):
        if done % _PROGRESS_ROWS == 0:
            recording.on_progress(done / count)
        try:
            recording.add_span(_span(*row))
        except Exception:  # noqa: BLE001  # whatever is wrong with one row, the others are reported
            left_out += 1
    records = connection.execute("SELECT trace_id, span_id, name, attributes FROM records WHERE name != ''")
    for trace_id, span_id, name, text in records:
        if name in signals.EVENTS:
            try:
                recording.add_log_event(trace_id, span_id, (name, json.loads(text)))
            except Exception:  # noqa: BLE001  # as above
                left_out += 1
    if left_out:
        recording.notes.append(f"{left_out} rows of the database could not be read and were left out")


def _span(
    trace_id: str, span_id: str, parent_id: str, start_ns: int, end_ns: int, attributes: str, events: str, resource: str
) -> Span:
    read = json.loads(attributes)
    if signals.OUTCOME not in read:  # of other spans only the place in the trace is used
        return Span(trace_id, span_id, parent_id, start_ns, end_ns, read, [], {})
    told = [(each["name"], each["attributes"]) for each in json.loads(events)]
    return Span(trace_id, span_id, parent_id, start_ns, end_ns, read, told, json.loads(resource))
