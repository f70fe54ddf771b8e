"""A database of an earlier version to this one, as a whole or not at all."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.sources.viewer_database import SCHEMA_VERSION, version_of
from otel_tokenstream.viewer import stream_table
from otel_tokenstream.viewer.progress import Progress
from otel_tokenstream.viewer.streams import described, so_far

if TYPE_CHECKING:
    import sqlite3

_logger = logging.getLogger(__name__)


def migrate(connection: sqlite3.Connection) -> None:
    """Does nothing to a database of this version. Raises sqlite3.Error, and leaves the database as it was then."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version_of(connection) == 1:  # by now another process may have done it
            _logger.info("the viewer's database is brought to version %d", SCHEMA_VERSION)
            _from_1_to_2(connection)
            connection.execute("PRAGMA user_version = 2")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


_OLD = """
    SELECT old.*, spans.name, spans.start_ns AS began_ns, spans.end_ns, spans.attributes, spans.resource
    FROM old_streams AS old LEFT JOIN spans USING (trace_id, span_id) ORDER BY old.rowid
"""


def _from_1_to_2(connection: sqlite3.Connection) -> None:
    """Fill the columns and search words of a stream from its attributes; links of spans were not kept."""
    connection.execute("ALTER TABLE spans ADD COLUMN links TEXT")
    for index in ("streams_start", "streams_choices", "streams_received"):
        connection.execute(f"DROP INDEX IF EXISTS {index}")
    connection.execute("ALTER TABLE streams RENAME TO old_streams")
    for statement in stream_table.STREAMS:
        connection.execute(statement)
    for row in connection.execute(_OLD):
        known = {name: row[name] for name in ("service", "operation", "provider", "model", "outcome")}
        known |= {name: row[name] for name in ("trace_id", "span_id", "start_ns", "fields", "progress", "received_ns")}
        columns, words = _read(row)
        id_ = stream_table.put(connection, {**columns, **known})
        stream_table.put_words(connection, id_, words)
    connection.execute("DROP TABLE old_streams")


def _read(row: sqlite3.Row) -> tuple[dict[str, Any], str]:
    """A row that cannot be read keeps what its own columns say."""
    try:
        if row["attributes"] is None:
            return so_far(Progress.parse(row["progress"])), ""
        attributes, resource = json.loads(row["attributes"]), json.loads(row["resource"])
        columns = described(row["began_ns"], row["end_ns"], attributes)
        return columns, stream_table.words_of(row["name"], attributes, resource)
    except Exception:
        _logger.exception("a row of the database cannot be read and is kept without its figures")
        return {}, ""
