"""The bound of the database, by age and by size; the oldest goes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import sqlite3

_TABLES = ("spans", "streams", "records", "points")


@dataclass(frozen=True)
class Retention:
    days: float = 7
    max_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        if not self.days > 0:
            message = f"retention is {self.days} days; give a number above 0"
            raise ValueError(message)

    def begin_ns(self, now_ns: int) -> int:
        """Return the time before which all is deleted, or 0 where the age is beyond what the clock has counted."""
        return int(max(now_ns - self.days * 86_400e9, 0))

    @property
    def sweep_after_bytes(self) -> int:
        """How much may be written before the bound is looked at again."""
        return self.max_bytes // 16


def sweep(connection: sqlite3.Connection, retention: Retention, now_ns: int) -> bool:
    """Deletes what is too old or too much, gives the space back; True if something went."""
    before = connection.total_changes
    delete(connection, "<", retention.begin_ns(now_ns))
    # A new sweep comes after another sixteenth: full at 7/8, down to 3/4, the file stays below the bound.
    if _used_bytes(connection) > retention.max_bytes * 7 // 8:
        while _used_bytes(connection) > retention.max_bytes * 3 // 4:
            cutoff = _oldest_tenth(connection)
            if cutoff is None:
                break
            delete(connection, "<=", cutoff)
    changed = connection.total_changes > before
    if changed:
        # Each returned row frees one page; an unread cursor would free only the first.
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return changed


def delete(connection: sqlite3.Connection, comparison: Literal["<", "<="], received_ns: int) -> None:
    """All that was received before a time, or until then."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        gone = f"SELECT id FROM streams WHERE received_ns {comparison} ?"  # noqa: S608  # from this file
        connection.execute(f"DELETE FROM words WHERE rowid IN ({gone})", (received_ns,))  # noqa: S608  # as above
        for table in _TABLES:
            connection.execute(f"DELETE FROM {table} WHERE received_ns {comparison} ?", (received_ns,))  # noqa: S608  # both from this file


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    return (pages - free) * size


def _oldest_tenth(connection: sqlite3.Connection) -> int | None:
    """Reception time at the end of the oldest tenth of the rows."""
    every = " UNION ALL ".join(f"SELECT received_ns FROM {table}" for table in _TABLES)  # noqa: S608  # from this file
    count = connection.execute(f"SELECT count(*) FROM ({every})").fetchone()[0]  # noqa: S608  # as above
    row = connection.execute(
        f"SELECT received_ns FROM ({every}) ORDER BY received_ns LIMIT 1 OFFSET ?",  # noqa: S608  # as above
        (count // 10,),
    ).fetchone()
    return None if row is None else int(row[0])
