"""Chosen streams together that belong to one trace or one conversation: a run of an agent is one row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.index import Array, Index
    from otel_tokenstream.viewer.selection import Mask
    from otel_tokenstream.viewer.streams import Json

BY = ("trace", "conversation")
_FEW_NAMES = 3
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""An odd number, so that both halves of a trace's id tell traces apart."""


def kind(text: str) -> str:
    """Raises ValueError."""
    if text not in BY:
        message = f"by is {text!r}; give {' or '.join(BY)}"
        raise ValueError(message)
    return text


def grouped(
    index: Index, connection: sqlite3.Connection, mask: Mask, by: str, offset: int, limit: int
) -> tuple[list[Json], int]:
    """The groups from ``offset`` on, that with the newest stream first, and how many there are.

    Streams without a conversation are in no group of that kind.
    """
    if by == "conversation":
        mask = mask & (index["conversation"] != 0)
    places = np.flatnonzero(mask)
    keys = _keys(index, by)[places]
    chosen = _newest(keys, index["start_ns"][places], offset + limit)[offset:]
    count = _different(keys)
    inside = _among(keys, chosen)
    places, keys = places[inside], keys[inside]
    return [_group(index, connection, places[keys == key], by) for key in chosen], count


def _newest(keys: Array, starts: Array, wanted: int) -> Array:
    """The first so many keys in the order of their newest streams, out of as few streams as hold them."""
    looked_at = 8 * wanted
    while True:
        all_ = looked_at >= len(keys)
        latest = np.arange(len(keys)) if all_ else np.argpartition(-starts, looked_at)[:looked_at]
        latest = latest[np.argsort(-starts[latest], kind="stable")]
        _, first = np.unique(keys[latest], return_index=True)
        if len(first) >= wanted or all_:
            found: Array = keys[latest[np.sort(first)[:wanted]]]
            return found
        looked_at *= 8


def _different(keys: Array) -> int:
    """How many; sorting a million keys takes a tenth of the time of np.unique, which hashes them."""
    ordered = np.sort(keys)
    return int((ordered[1:] != ordered[:-1]).sum()) + bool(len(keys))


def _among(keys: Array, few: Array) -> Mask:
    """Which keys are among the few; np.isin sorts all keys for that."""
    if not len(few):
        return np.zeros(len(keys), bool)
    ordered = np.sort(few)
    places = np.searchsorted(ordered, keys)
    places[places == len(ordered)] = 0
    found: Mask = ordered[places] == keys
    return found


def _keys(index: Index, by: str) -> Array:
    if by == "conversation":
        return index["conversation"]
    with np.errstate(over="ignore"):
        keys: Array = index["trace_low"] ^ (index["trace_high"] * _SPREAD)
    return keys


def _group(index: Index, connection: sqlite3.Connection, places: Array, by: str) -> Json:
    starts = index["start_ns"][places]
    durations = np.nan_to_num(index["duration_ms"][places])
    start_ns = int(starts.min())
    trace_id = f"{int(index['trace_high'][places[0]]):016x}{int(index['trace_low'][places[0]]):016x}"
    conversation = index.names["conversation"].texts[int(index["conversation"][places[0]])]
    failed = index.names["outcome"].known("failed")
    return {
        "key": trace_id if by == "trace" else conversation,
        "name": _name(connection, trace_id) if by == "trace" else conversation,
        "streams": len(places),
        "start_unix_ns": str(start_ns),
        "duration_ms": float(((starts - start_ns) / 1e6 + durations).max()),
        "failed": int((index["outcome"][places] == failed).sum()),
        "stalls": _sum(index["stall_count"][places]),
        "output_tokens": _sum(index["output_tokens"][places]),
        "cost_usd": _sum(index["cost_usd"][places]),
        "services": _names(index, "service", places),
        "models": _names(index, "model", places),
    }


def _name(connection: sqlite3.Connection, trace_id: str) -> str:
    """Of the outermost span that came, or none."""
    query = "SELECT name FROM spans WHERE trace_id = ? ORDER BY parent_id != '', start_ns LIMIT 1"
    row = connection.execute(query, (trace_id,)).fetchone()
    return str(row[0]) if row else ""


def _sum(values: Array) -> float | None:
    """None where it was measured of no stream."""
    return None if np.isnan(values).all() else float(np.nansum(values))


def _names(index: Index, column: str, places: Array) -> list[str]:
    numbers = np.unique(index[column][places])
    names = sorted(index.names[column].texts[number] for number in numbers if number)
    return names if len(names) <= _FEW_NAMES else [*names[:_FEW_NAMES], f"and {len(names) - _FEW_NAMES} more"]
