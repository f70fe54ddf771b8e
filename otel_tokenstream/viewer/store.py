"""The store: one thread writes, in batches, and keeps the bound; readers read beside it."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from otel_tokenstream.viewer import database
from otel_tokenstream.viewer.insertion import insert
from otel_tokenstream.viewer.retention import Retention, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_tokenstream.viewer.otlp import Rows

_logger = logging.getLogger(__name__)

_WAITING_REQUESTS = 64
_GROUP = 32
_SWEEP_SECONDS = 60.0
_LOG_BYTES = 8 * 2**20
"""What SQLite keeps of its write-ahead log after folding it in; one large transaction may make it longer."""

_Job = tuple["Rows", "Future[None]"]


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
        database.prepare(path)
        self._reader = database.connect(path)
        self._reader.execute("PRAGMA query_only = ON")
        self._reading = threading.Lock()
        self._writer = threading.Thread(target=self._run, name="viewer-writer", daemon=True)
        self._writer.start()

    def submit(self, rows: Rows) -> Future[None]:
        """Done when the rows are committed. Raises NotStoredError, itself or from the future."""
        done: Future[None] = Future()
        try:
            self._jobs.put_nowait((rows, done))
        except queue.Full:
            message = f"{_WAITING_REQUESTS} requests wait to be stored"
            raise NotStoredError(message) from None
        return done

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One reader at a time, on one state of the database for all its queries."""
        with self._reading:
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("COMMIT")

    def close(self) -> None:
        """Writes what was submitted, then lets go of the file."""
        self._jobs.put(None)
        self._writer.join()
        with self._reading:
            self._reader.close()

    def _run(self) -> None:
        connection = database.connect(self.path)
        connection.execute("PRAGMA synchronous = NORMAL")  # survives the process; a power cut may cost the last writes
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
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
                    written += self._write(connection, group)
                    self._on_change()
                if closing:
                    return
        finally:
            connection.close()

    def _next_group(self, timeout: float) -> tuple[list[_Job], bool]:
        """What waits, up to a bound, and whether the end was asked for."""
        group: list[_Job] = []
        try:
            job = self._jobs.get(timeout=timeout)
            while job is not None:
                group.append(job)
                if len(group) == _GROUP:
                    return group, False
                job = self._jobs.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _write(self, connection: sqlite3.Connection, group: list[_Job]) -> int:
        """One transaction for all; if it fails, one for each, so that a bad request fails alone."""
        try:
            size = _commit(connection, [rows for rows, _ in group])
        except Exception as error:  # whatever it is, the writer lives and the sender is told
            if len(group) > 1:
                return sum(self._write(connection, [job]) for job in group)
            _logger.exception("could not store a request in %s", self.path)
            group[0][1].set_exception(NotStoredError(f"could not store the request: {error}"))
            return 0
        for _, done in group:
            done.set_result(None)
        return size

    def _sweep(self, connection: sqlite3.Connection) -> None:
        try:
            if sweep(connection, self._retention, time.time_ns()):
                self._on_change()
        except sqlite3.Error:
            _logger.exception("could not bound the size of %s", self.path)


def _commit(connection: sqlite3.Connection, requests: list[Rows]) -> int:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        return sum(insert(connection, rows, time.time_ns()) for rows in requests)
