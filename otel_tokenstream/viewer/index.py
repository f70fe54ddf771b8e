"""The table of streams as columns in memory, so that any filter and any order over a million streams is quick.

The table stays the truth: the columns follow it, and hold only what streams are chosen and ordered by.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from otel_tokenstream.viewer.stream_table import MEASURED, NAMED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

_logger = logging.getLogger(__name__)

_AT_ONCE = 20_000
_TYPES: dict[str, type] = {
    "id": np.int64,
    "start_ns": np.int64,
    "received_ns": np.int64,
    "trace_high": np.uint64,
    "trace_low": np.uint64,
    "span": np.uint64,
    **dict.fromkeys(NAMED, np.int32),
    **dict.fromkeys(MEASURED, np.float64),
}
_EVERY = f"SELECT id, start_ns, received_ns, trace_id, span_id, {', '.join((*NAMED, *MEASURED))} FROM streams"  # noqa: S608  # constants
_CHANGED = f"{_EVERY} WHERE received_ns > ?"


class Names:
    """The names in one column, by number; number 0 is none."""

    def __init__(self) -> None:
        self.texts = [""]
        self._numbers: dict[str | None, int] = {None: 0, "": 0}

    def number(self, name: str | None) -> int:
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.texts)
            self.texts.append(str(name))
        return found

    def known(self, name: str) -> int:
        """-1 for a name that no stream has."""
        return self._numbers.get(name, -1)

    def containing(self, part: str) -> list[int]:
        return [number for number, text in enumerate(self.texts) if part in text.lower()]

    def order(self) -> Array:
        """The place of each number in the alphabet; none comes last."""
        places = np.empty(len(self.texts), np.int64)
        by_name = sorted(range(1, len(self.texts)), key=lambda number: self.texts[number].lower())
        places[[*by_name, 0]] = np.arange(len(self.texts))
        return places


class Index:
    """``index[name]`` is a column, in the order of ids.

    Names are numbers of ``names[column]``, a measured value that is missing is NaN, and ids are unsigned integers of
    64 bits, two for a trace. The arrays are views, and good until the next call of ``follow``.
    """

    def __init__(self) -> None:
        self._last_ns = -1
        self._clear()

    def _clear(self) -> None:
        self.names = {column: Names() for column in NAMED}
        self._columns: dict[str, Array] = {name: np.empty(0, kind) for name, kind in _TYPES.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> Array:
        return self._columns[name][: self._count]

    def follow(self, connection: sqlite3.Connection) -> None:
        """Take over what changed since the last call. Raises sqlite3.Error."""
        changed = connection.cursor()
        changed.row_factory = None
        # Without the condition the table is read in its own order, which is quicker by half.
        changed.execute(*((_CHANGED, (self._last_ns,)) if self._count else (_EVERY,)))
        while rows := changed.fetchmany(_AT_ONCE):
            self._take(rows)
        oldest = connection.execute("SELECT min(received_ns) FROM streams").fetchone()[0]
        self._forget_before(oldest)

    def find(self, trace_id: str, span_id: str) -> int | None:
        """The place of a stream by its ids."""
        high, low, span = int(trace_id[:16], 16), int(trace_id[16:], 16), int(span_id, 16)
        at = np.flatnonzero((self["span"] == span) & (self["trace_low"] == low) & (self["trace_high"] == high))
        return int(at[0]) if len(at) else None

    def _take(self, rows: list[tuple[Any, ...]]) -> None:
        self._last_ns = max(self._last_ns, *(row[2] for row in rows))
        try:
            self._put(self._arrays(rows))
        except Exception:
            if len(rows) == 1:
                _logger.exception("a row of the database cannot be read and is left out")
                return
            for row in rows:
                self._take([row])

    def _arrays(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, Array]:
        ids, starts, received, traces, spans, *others = zip(*sorted(rows), strict=True)
        trace = np.frombuffer(bytes.fromhex("".join(traces)), ">u8").reshape(len(rows), 2)
        found = {
            "id": np.array(ids, np.int64),
            "start_ns": np.array(starts, np.int64),
            "received_ns": np.array(received, np.int64),
            "trace_high": trace[:, 0],
            "trace_low": trace[:, 1],
            "span": np.frombuffer(bytes.fromhex("".join(spans)), ">u8").reshape(len(rows)),
        }
        for name, values in zip(NAMED, others, strict=False):
            found[name] = np.fromiter(map(self.names[name].number, values), np.int32, len(rows))
        for name, values in zip(MEASURED, others[len(NAMED) :], strict=True):
            found[name] = np.array(values, np.float64)  # None becomes NaN
        return found

    def _put(self, arrays: dict[str, Array]) -> None:
        ids = arrays["id"]
        known = self["id"]
        places = np.searchsorted(known, ids)
        old = np.zeros(len(ids), bool)
        inside = places < len(known)
        old[inside] = known[places[inside]] == ids[inside]
        new = ~old
        count = self._count + int(new.sum())
        if count > len(self._columns["id"]):
            room = max(1024, count + count // 4)
            for name, column in self._columns.items():
                self._columns[name] = np.concatenate([column, np.empty(room - len(column), column.dtype)])
        unordered = self._count and new.any() and ids[new][0] < known[-1]
        for name, values in arrays.items():
            column = self._columns[name]
            column[places[old]] = values[old]
            column[self._count : count] = values[new]
        self._count = count
        if unordered:
            self._keep(np.argsort(self["id"]))

    def _forget_before(self, oldest_ns: int | None) -> None:
        """Rows go by their reception alone, the oldest first; None where none is left."""
        if oldest_ns is None:
            self._clear()
        elif self._count and self["received_ns"].min() < oldest_ns:
            self._keep(np.flatnonzero(self["received_ns"] >= oldest_ns))
            self._forget_names()

    def _keep(self, places: Array) -> None:
        for name, column in self._columns.items():
            self._columns[name] = column[places]
        self._count = len(places)

    def _forget_names(self) -> None:
        for column in NAMED:
            before, self.names[column] = self.names[column], Names()
            used, numbers = np.unique(self[column], return_inverse=True)
            new = np.array([self.names[column].number(before.texts[number]) for number in used], np.int32)
            self._columns[column] = new[numbers]
