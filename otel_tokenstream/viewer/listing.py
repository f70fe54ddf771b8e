"""The list: a page of the chosen streams in the order asked for, how many there are, and what one can choose by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from otel_tokenstream.viewer.selection import Selection, is_open, so_far
from otel_tokenstream.viewer.stream_table import MEASURED, NAMED
from otel_tokenstream.viewer.streams import Json, made_of, stream_of

if TYPE_CHECKING:
    import sqlite3

    from otel_tokenstream.viewer.index import Array, Index
    from otel_tokenstream.viewer.selection import Mask

SORTED_BY = ("start", *NAMED, *MEASURED)
NEWEST_FIRST = "-start"
MOST_CHOICES = 200
"""Names a filter offers; there may be as many models as there are streams."""

_CHOICES = {
    "services": "service",
    "models": "model",
    "operations": "operation",
    "outcomes": "outcome",
    "errors": "error_type",
    "finish_reasons": "finish_reason",
}
_FEW = 4096
"""So many are sorted sooner than their first ones are looked for."""


@dataclass(frozen=True)
class Order:
    """By one column; streams without a value come last, and of equal ones the newest first."""

    column: str
    descending: bool

    @classmethod
    def parse(cls, text: str) -> Order:
        """``duration_ms``, or with a minus in front for the largest first. Raises ValueError."""
        column = text.removeprefix("-")
        if column not in SORTED_BY:
            message = (
                f"sort is {text!r}; give one of {', '.join(SORTED_BY)}, with a minus in front for the largest first"
            )
            raise ValueError(message)
        return cls(column, text.startswith("-"))

    def keys(self, index: Index, now_ns: int) -> Array:
        """Ascending in the order of the list."""
        if self.column in NAMED:
            places = index.names[self.column].order()
            last = places[0]
            keys = (-places if self.descending else places)[index[self.column]]
            keys[index[self.column] == 0] = last
            return keys
        keys = index["start_ns"] if self.column == "start" else so_far(index, self.column, now_ns)
        keys = -keys if self.descending else keys
        return keys if self.column == "start" else np.where(np.isnan(keys), np.inf, keys)

    def chosen(self, index: Index, mask: Mask, offset: int, limit: int, now_ns: int) -> Array:
        """Places of the streams from ``offset`` on."""
        keys = self.keys(index, now_ns)
        places = np.flatnonzero(mask)
        end = offset + limit
        if len(places) > max(_FEW, 2 * end):
            of = keys[places]
            places = places[of <= np.partition(of, end)[end]]  # with all that are equal to the last one
        places = places[::-1]
        places = places[np.argsort(-index["start_ns"][places], kind="stable")]
        return places[np.argsort(keys[places], kind="stable")][offset:end]


def page(
    index: Index,
    connection: sqlite3.Connection,
    selection: Selection,
    order: Order,
    offset: int,
    limit: int,
    now_ns: int,
) -> Json:
    mask = selection.mask(index, connection, now_ns)
    places = order.chosen(index, mask, offset, limit, now_ns)
    return {
        "streams": rows_at(index, connection, places, now_ns),
        "offset": offset,
        "total": len(index),
        "summary": summary(index, mask, now_ns),
        "choices": choices(index),
    }


def rows_at(index: Index, connection: sqlite3.Connection, places: Array, now_ns: int) -> list[Json]:
    ids = index["id"][places].tolist()
    query = "SELECT * FROM streams WHERE id IN (SELECT value FROM json_each(?))"
    found = {row["id"]: row for row in connection.execute(query, (json.dumps(ids),))}
    return list(made_of((found[id_] for id_ in ids if id_ in found), lambda row: stream_of(row, now_ns)))


def summary(index: Index, mask: Mask, now_ns: int) -> Json:
    """Of all chosen streams, not of a page of them."""
    first = index["time_to_first_token_ms"][mask]
    first = first[~np.isnan(first)]
    return {
        "streams": int(mask.sum()),
        "failed": int((mask & (index["outcome"] == index.names["outcome"].known("failed"))).sum()),
        "stalled": int((mask & (index["stall_count"] > 0)).sum()),
        "open": int((mask & is_open(index, now_ns)).sum()),
        "first_token_p50_ms": float(np.median(first)) if len(first) else None,
    }


def choices(index: Index) -> Json:
    """The most frequent names of each kind, and of which kind there are more than are listed."""
    found: Json = {}
    more: list[str] = []
    for kind, column in _CHOICES.items():
        texts = index.names[column].texts
        counts = np.bincount(index[column], minlength=len(texts))
        counts[0] = 0
        used = np.flatnonzero(counts)
        if len(used) > MOST_CHOICES:
            more.append(kind)
            used = used[np.argsort(-counts[used], kind="stable")][:MOST_CHOICES]
        found[kind] = sorted(texts[number] for number in used)
    return {**found, "more": more} if more else found


def neighbours(
    index: Index, connection: sqlite3.Connection, selection: Selection, order: Order, at: int, now_ns: int
) -> Json:
    """Of the stream at a place of the index: the one before and the one after it in the list, and where it stands."""
    mask = selection.mask(index, connection, now_ns)
    keys, starts, places = order.keys(index, now_ns), index["start_ns"], np.arange(len(index))
    newer = (starts > starts[at]) | ((starts == starts[at]) & (places > at))
    equal = keys == keys[at]
    before = mask & ((keys < keys[at]) | (equal & newer))
    after = mask & ((keys > keys[at]) | (equal & ~newer & (places != at)))
    return {
        "position": int(before.sum()) + 1 if mask[at] else None,
        "streams": int(mask.sum()),
        "previous": _ids(index, connection, _last(keys, starts, before)),
        "next": _ids(index, connection, _last(-keys, -starts, after)),
    }


def _last(keys: Array, starts: Array, mask: Mask) -> int | None:
    """Of the largest key the oldest, for with the signs turned the first."""
    places = np.flatnonzero(mask)
    if not len(places):
        return None
    places = places[keys[places] == keys[places].max()]
    places = places[starts[places] == starts[places].min()]
    return int(places[0])


def _ids(index: Index, connection: sqlite3.Connection, at: int | None) -> dict[str, Any] | None:
    if at is None:
        return None
    query = "SELECT trace_id, span_id, operation, model FROM streams WHERE id = ?"
    row = connection.execute(query, (int(index["id"][at]),)).fetchone()
    return None if row is None else dict(row)
