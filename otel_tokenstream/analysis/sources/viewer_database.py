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

SCHEMA_VERSION = 1
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
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                message = f"{path} is not a viewer database of this version: its version is {version or 'unset'}"
                raise SourceError(message)
            read_from(connection, recording)
    except sqlite3.Error as error:
        message = f"{path}: {error}; is it a viewer database, and may you read it and its directory?"
        raise SourceError(message) from error


def read_from(connection: sqlite3.Connection, recording: Recording) -> None:
    spans = connection.execute(
        "SELECT trace_id, span_id, parent_id, start_ns, end_ns, attributes, events, resource FROM spans"
    )
    for trace_id, span_id, parent_id, start_ns, end_ns, *texts in spans:
        attributes = json.loads(texts[0])
        of_stream = signals.OUTCOME in attributes  # of other spans only the place in the trace is used
        events = [(each["name"], each["attributes"]) for each in json.loads(texts[1])] if of_stream else []
        resource = json.loads(texts[2]) if of_stream else {}
        recording.add_span(Span(trace_id, span_id, parent_id, start_ns, end_ns, attributes, events, resource))
    records = connection.execute("SELECT trace_id, span_id, name, attributes FROM records WHERE name != ''")
    for trace_id, span_id, name, text in records:
        if name in signals.EVENTS:
            recording.add_log_event(trace_id, span_id, (name, json.loads(text)))
