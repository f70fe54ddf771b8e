"""The table of streams and the words by which they are found."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.otlp import Attributes

MEASURED = (
    "duration_ms",
    "chunks",
    "time_to_first_token_ms",
    "time_to_first_answer_token_ms",
    "gap_p50_ms",
    "gap_p95_ms",
    "gap_max_ms",
    "opening_ms",
    "wait_total_ms",
    "wait_max_ms",
    "consumer_total_ms",
    "stall_count",
    "stall_total_ms",
    "output_rate",
    "output_tokens",
    "input_tokens",
    "cost_usd",
)
"""Columns of a stream that are numbers; null is what was not measured."""

NAMED = (
    "service",
    "operation",
    "provider",
    "model",
    "outcome",
    "error_type",
    "finish_reason",
    "conversation",
)
"""Columns of a stream that are texts, of which many streams have the same."""

STREAMS = (
    # One row a generation, there from its first sign of life: its span, or a log event before it.
    # outcome is null until the span came; progress is JSON, from the log events alone.
    # id is never given twice and received_ns never goes back: by them a reader finds what is new.
    f"""
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY AUTOINCREMENT, trace_id TEXT, span_id TEXT, start_ns INTEGER,
        fields TEXT, progress TEXT, received_ns INTEGER,
        {", ".join(f"{name} TEXT" for name in NAMED)},
        {", ".join(f"{name} NUMERIC" for name in MEASURED)},
        UNIQUE (trace_id, span_id)
    )
    """,
    "CREATE INDEX streams_received ON streams (received_ns)",
    # rowid is streams.id
    "CREATE VIRTUAL TABLE words USING fts5 (text, detail = none, columnsize = 0)",
)

_COLUMNS = ("trace_id", "span_id", "start_ns", "fields", "progress", "received_ns", *NAMED, *MEASURED)
_PUT = f"""
    INSERT INTO streams ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
    ON CONFLICT (trace_id, span_id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[2:])}
"""  # noqa: S608  # constants
_ID = "SELECT id FROM streams WHERE trace_id = ? AND span_id = ?"


def put(connection: sqlite3.Connection, columns: dict[str, Any]) -> int:
    """Insert or replace a stream and return its id; what is not in ``columns`` becomes null."""
    connection.execute(_PUT, {**_EMPTY, **columns})
    return int(connection.execute(_ID, (columns["trace_id"], columns["span_id"])).fetchone()[0])


_EMPTY = dict.fromkeys(_COLUMNS)

_LONGEST_WORDS = 256
"""A longer attribute is content rather than a name, and would make the index as large as the spans."""

_WORD = re.compile(r"[^\W_]+")


_IN_COLUMNS = frozenset(
    (
        signals.OPERATION_NAME,
        signals.PROVIDER_NAME,
        signals.REQUEST_MODEL,
        signals.OUTCOME,
        signals.ERROR_TYPE,
        signals.FINISH_REASONS,
        signals.CONVERSATION_ID,
        "service.name",
    )
)


def words_of(name: str, attributes: Attributes, resource: Attributes) -> str:
    """Of the span's name and the texts of its attributes, each word once, and numbers an application added.

    Names that stand in columns are left out: they are searched there.
    """
    texts = [name]
    for attribute, value in (*attributes.items(), *resource.items()):
        if attribute in _IN_COLUMNS or attribute.startswith("telemetry."):
            continue
        if isinstance(value, list):
            texts += [each for each in value if isinstance(each, str)]
        elif isinstance(value, str):
            texts.append(value)
        elif isinstance(value, int) and attribute not in signals.SPAN_ATTRIBUTES:
            texts.append(str(value))
    short = " ".join(text for text in texts if len(text) <= _LONGEST_WORDS)
    return " ".join(dict.fromkeys(words_in(short)))


def words_in(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def put_words(connection: sqlite3.Connection, id_: int, words: str) -> None:
    if words:
        connection.execute("INSERT OR REPLACE INTO words (rowid, text) VALUES (?, ?)", (id_, words))
