"""Which streams of the index a request asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from otel_tokenstream.analysis.units import seconds
from otel_tokenstream.viewer.stream_table import NAMED, words_in
from otel_tokenstream.viewer.streams import IN_PROGRESS, SILENT_NS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from otel_tokenstream.viewer.index import Array, Index

    Mask = NDArray[np.bool_]

_BY_NAME = {name: name for name in NAMED} | {"error": "error_type"}
_OVER = {"first_token_over": "time_to_first_token_ms", "duration_over": "duration_ms"}
_LONGEST_SEARCH = 200
_MOST_WORDS = 8
_SHORTEST_ID = 4
_LARGEST_NS = 2**63 - 1


@dataclass(frozen=True)
class Selection:
    """Conditions that hold together; without any, every stream."""

    named: Mapping[str, str] = field(default_factory=dict)
    trace_id: str = ""
    stalled: bool = False
    over: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by the measured column."""
    from_ns: int = 0
    to_ns: int = _LARGEST_NS
    last_s: float | None = None
    text: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Selection:
        """Of a request's parameters; an empty one is none. Raises ValueError."""
        given = {name: value for name, value in query.items() if value}
        trace_id = given.get("trace", "")
        if trace_id and not re.fullmatch("[0-9a-f]{32}", trace_id):
            message = f"trace is {trace_id!r}; give the 32 hexadecimal digits of a trace's id"
            raise ValueError(message)
        text = given.get("q", "")
        if len(text) > _LONGEST_SEARCH:
            message = f"q has {len(text)} characters; give at most {_LONGEST_SEARCH}"
            raise ValueError(message)
        return cls(
            named={_BY_NAME[name]: value for name, value in given.items() if name in _BY_NAME},
            trace_id=trace_id,
            stalled=_yes(given, "stalled"),
            over={column: _milliseconds(given, name) for name, column in _OVER.items() if name in given},
            from_ns=_nanoseconds(given, "from", 0),
            to_ns=_nanoseconds(given, "to", _LARGEST_NS),
            last_s=seconds(given["last"]) if "last" in given else None,
            text=text,
        )

    def mask(self, index: Index, connection: sqlite3.Connection, now_ns: int) -> Mask:
        """True for each stream of the index that is asked for."""
        chosen = np.ones(len(index), bool)
        for column, value in self.named.items():
            if column == "outcome" and value == IN_PROGRESS:
                chosen &= is_open(index, now_ns)
            else:
                chosen &= index[column] == index.names[column].known(value)
        if self.trace_id:
            chosen &= _begins(index["trace_high"], index["trace_low"], self.trace_id)
        if self.stalled:
            chosen &= index["stall_count"] > 0
        for column, least in self.over.items():
            chosen &= so_far(index, column, now_ns) > least
        from_ns = self.from_ns if self.last_s is None else max(self.from_ns, now_ns - int(self.last_s * 1e9))
        if from_ns:
            chosen &= index["start_ns"] >= from_ns
        if self.to_ns != _LARGEST_NS:
            chosen &= index["start_ns"] < self.to_ns
        for word in self.text.lower().split()[:_MOST_WORDS]:
            found = _named(index, word) | _with_id(index, word)
            if not found[chosen].all():  # a name that all have costs no search of the attributes
                found |= _with_word(index, connection, word)
            chosen &= found
        return chosen


def is_open(index: Index, now_ns: int) -> Mask:
    """Without a span, and heard of not long ago."""
    found: Mask = (index["outcome"] == 0) & (index["received_ns"] > now_ns - SILENT_NS)
    return found


def so_far(index: Index, column: str, now_ns: int) -> Array:
    """The column, and of open streams the time until now where it still grows."""
    values = index[column]
    if column not in {"duration_ms", "time_to_first_token_ms"}:
        return values
    growing = is_open(index, now_ns)
    if column != "duration_ms":
        growing &= np.isnan(values)
    if not growing.any():
        return values
    values = values.copy()
    values[growing] = np.maximum(now_ns - index["start_ns"][growing], 0) / 1e6
    return values


def _named(index: Index, word: str) -> Mask:
    found = np.zeros(len(index), bool)
    for column in NAMED:
        numbers = index.names[column].containing(word)
        if numbers:
            has = np.zeros(len(index.names[column].texts), bool)
            has[numbers] = True
            found |= has[index[column]]
    return found


def _with_id(index: Index, word: str) -> Mask:
    """By the beginning of the id of the trace or the span."""
    if not re.fullmatch(f"[0-9a-f]{{{_SHORTEST_ID},32}}", word):
        return np.zeros(len(index), bool)
    found = _begins(index["trace_high"], index["trace_low"], word)
    return found if len(word) > 16 else found | _begins_with(index["span"], word)


def _begins(high: Array, low: Array, digits: str) -> Mask:
    found = _begins_with(high, digits[:16])
    return found & _begins_with(low, digits[16:]) if len(digits) > 16 else found


def _begins_with(ids: Array, digits: str) -> Mask:
    found: Mask = ids >> np.uint64(64 - 4 * len(digits)) == np.uint64(int(digits, 16))
    return found


def _with_word(index: Index, connection: sqlite3.Connection, word: str) -> Mask:
    """With an attribute in which the parts of the word stand, the last of them as a beginning."""
    found = np.zeros(len(index), bool)
    parts = words_in(word)
    if not parts:
        return found
    query = " AND ".join(f'"{part}"' for part in parts) + "*"
    # One text of all ids: a million rows of them would take seconds to become Python's integers.
    text = connection.execute("SELECT group_concat(rowid) FROM words WHERE words MATCH ?", (query,)).fetchone()[0]
    if text:
        ids = np.fromstring(text, np.int64, sep=",")
        places = np.searchsorted(index["id"], ids)
        places[places == len(index)] = 0
        found[places[index["id"][places] == ids]] = True
    return found


def _yes(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "")
    if value not in {"", "1"}:
        message = f"{name} is {value!r}; give 1 or leave it out"
        raise ValueError(message)
    return value == "1"


def _milliseconds(given: Mapping[str, str], name: str) -> float:
    return _number(given[name], name, "milliseconds")


def _nanoseconds(given: Mapping[str, Any], name: str, otherwise: int) -> int:
    if name not in given:
        return otherwise
    return min(int(_number(given[name], name, "milliseconds since 1970") * 1e6), _LARGEST_NS)


def _number(text: str, name: str, of: str) -> float:
    if not re.fullmatch(r"\d{1,16}(\.\d{1,9})?", text, re.ASCII):
        message = f"{name} is {text!r}; give {of}"
        raise ValueError(message)
    return float(text)
