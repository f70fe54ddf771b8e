"""The store: one thread writes, in batches, and keeps the bound; readers read beside it."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from otel_tokenstream.viewer import database
from otel_tokenstream.viewer.index import Index
from otel_tokenstream.viewer.insertion import insert, insert_singly, is_of_the_database
from otel_tokenstream.viewer.limits import give_memory_back
from otel_tokenstream.viewer.retention import Retention, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_tokenstream.viewer.otlp import Rows

_logger = logging.getLogger(__name__)

_WAITING_REQUESTS = 64
_WAITING_BYTES = 32 * 2**20
_LARGE_BYTES = 2**18
_GROUP = 32
_SWEEP_SECONDS = 60.0
_LOG_BYTES = 8 * 2**20
"""Bytes that SQLite keeps of its write-ahead log after a checkpoint; one large transaction may exceed it."""

_Job = tuple["Rows", "Future[Counter[str]]"]


class NotStoredError(RuntimeError):
    """The exporter may try again later: too many requests wait, or the disk is full."""


class Store:
    """``on_change`` is called on the writer's thread after rows came or went."""

    def __init__(
        self,
        path: Path,
        retention: Retention | None = None,
        on_change: Callable[[], None] = lambda: None,
        sweep_seconds: float = _SWEEP_SECONDS,
    ) -> None:
        self.path = path
        self._retention = retention or Retention()
        self._on_change = on_change
        self._sweep_seconds = sweep_seconds
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_WAITING_REQUESTS)
        self._waiting_bytes = 0
        self._counting = threading.Lock()
        self._opening = threading.Lock()
        database.prepare(path)
        self._reader, self._read_file = self._open_reader()
        self._index = Index()
        self._reading = threading.Lock()
        self._closing = False
        self._writer = threading.Thread(target=self._run, name="viewer-writer", daemon=True)
        self._writer.start()

    def submit(self, rows: Rows) -> Future[Counter[str]]:
        """Done when the rows are committed, with the reasons for which some can never be, and how many.

        Raises NotStoredError, itself or from the future.
        """
        done: Future[Counter[str]] = Future()
        with self._counting:
            # One request alone is taken whatever its size.
            if self._waiting_bytes and self._waiting_bytes + rows.size > _WAITING_BYTES:
                message = f"{self._waiting_bytes} bytes wait to be stored"
                raise NotStoredError(message)
            try:
                self._jobs.put_nowait((rows, done))
            except queue.Full:
                message = f"{_WAITING_REQUESTS} requests wait to be stored"
                raise NotStoredError(message) from None
            self._waiting_bytes += rows.size
        return done

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One reader at a time, on one state of the database for all its queries. Raises sqlite3.Error."""
        with self._reading:
            if self._closing:
                message = "the viewer ends"
                raise sqlite3.OperationalError(message)
            if database.identity(self.path) != self._read_file:
                self._reader.close()
                self._ensure()
                self._reader, self._read_file = self._open_reader()
                self._index = Index()
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                if self._reader.in_transaction:  # a damaged file may have ended it
                    self._reader.execute("ROLLBACK")

    @contextmanager
    def listing(self) -> Iterator[tuple[sqlite3.Connection, Index]]:
        """As ``reading``, with the index of the same state. Of a million streams the first call takes seconds."""
        with self.reading() as connection:
            self._index.follow(connection)
            yield connection, self._index

    def warm(self) -> None:
        """Fill the index before somebody asks for the list."""
        with suppress(sqlite3.Error), self.listing():  # who asks is told
            pass

    def _open_reader(self) -> tuple[sqlite3.Connection, database.Identity]:
        reader = database.connect(self.path)
        reader.execute("PRAGMA query_only = ON")
        return reader, database.identity(self.path)

    def _ensure(self) -> None:
        """Make the database anew where it was deleted. Raises sqlite3.Error."""
        with self._opening:
            gone = database.identity(self.path) is None
            try:
                database.prepare(self.path)
            except (OSError, ValueError) as error:
                raise sqlite3.OperationalError(str(error)) from error
            if gone:
                _logger.warning("%s was deleted while the viewer ran; a new one was begun", self.path)

    def close(self) -> None:
        """Writes what was submitted, then lets go of the file."""
        self._closing = True
        with suppress(sqlite3.ProgrammingError):  # closed, where the file is gone
            self._reader.interrupt()
        with self._reading:  # before the writer: who closes last folds the write-ahead log in, and a reader cannot
            self._reader.close()
        self._jobs.put(None)
        self._writer.join()

    def _run(self) -> None:
        connection, file = self._open_writer()
        written = 0
        swept = float("-inf")
        try:
            while True:
                if written >= self._retention.sweep_after_bytes or time.monotonic() - swept >= self._sweep_seconds:
                    self._sweep(connection)
                    written, swept = 0, time.monotonic()
                group, closing = self._next_group(timeout=max(0.0, swept + self._sweep_seconds - time.monotonic()))
                group = [job for job in group if job[1].set_running_or_notify_cancel()]
                if group:
                    if database.identity(self.path) != file:
                        connection.close()
                        connection, file = self._open_writer()
                    written += self._write(connection, group)
                    large = any(rows.size > _LARGE_BYTES for rows, _ in group)
                    group.clear()
                    if large:
                        give_memory_back()
                    self._on_change()
                if closing:
                    return
        finally:
            connection.close()

    def _open_writer(self) -> tuple[sqlite3.Connection, database.Identity]:
        """Where the file is none that can be written, a connection whose every use says so."""
        try:
            if database.identity(self.path) is None:
                self._ensure()
            else:
                database.prepare(self.path)
            connection = database.connect(self.path)
            connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last writes
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        except (sqlite3.Error, ValueError, OSError):
            _logger.exception("cannot write to %s", self.path)
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), None
        return connection, database.identity(self.path)

    def _next_group(self, timeout: float) -> tuple[list[_Job], bool]:
        """Return the waiting rows, up to a bound, and whether the end was requested."""
        group: list[_Job] = []
        closing = False
        try:
            job = self._jobs.get(timeout=timeout)
            while job is not None and len(group) < _GROUP - 1:
                group.append(job)
                job = self._jobs.get_nowait()
            closing = job is None
            group += [job] if job is not None else []
        except queue.Empty:
            pass
        with self._counting:
            self._waiting_bytes -= sum(rows.size for rows, _ in group)
        return group, closing

    def _write(self, connection: sqlite3.Connection, group: list[_Job]) -> int:
        """One transaction for all; if it fails, one for each, so that a bad request fails alone."""
        try:
            size = _commit(connection, [rows for rows, _ in group])
        except Exception as error:  # noqa: BLE001  # whatever it is, the writer lives and the sender is told
            if len(group) > 1:
                return sum(self._write(connection, [job]) for job in group)
            return self._write_what_can_be(connection, group[0], error)
        for _, done in group:
            done.set_result(Counter())
        return size

    def _write_what_can_be(self, connection: sqlite3.Connection, job: _Job, error: Exception) -> int:
        """Of a request that failed as a whole: all but the rows that never can be stored."""
        rows, done = job
        try:
            if is_of_the_database(error):
                raise error  # noqa: TRY301  # told as what happens below
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                size, rejected = insert_singly(connection, rows, _now_ns(connection))
        except Exception as problem:
            _logger.exception("could not store a request in %s", self.path)
            done.set_exception(NotStoredError(f"could not store the request: {problem}"))
            return 0
        done.set_result(rejected)
        return size

    def _sweep(self, connection: sqlite3.Connection) -> None:
        try:
            if sweep(connection, self._retention, time.time_ns()):
                self._on_change()
        except Exception:  # whatever it is, the writer lives
            _logger.exception("could not bound the size of %s", self.path)


def _commit(connection: sqlite3.Connection, requests: list[Rows]) -> int:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        now_ns = _now_ns(connection)
        return sum(insert(connection, rows, now_ns) for rows in requests)


def _now_ns(connection: sqlite3.Connection) -> int:
    """Later than what is stored, whatever the clock says: by it readers find the streams that changed."""
    last = connection.execute("SELECT max(received_ns) FROM streams").fetchone()[0]
    return max(time.time_ns(), (last or 0) + 1)
