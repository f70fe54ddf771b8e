from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from scenes import Application, Stream, ids, paced
from viewer_client import detail, get, streams

from otel_tokenstream import signals
from otel_tokenstream.viewer import database, running
from otel_tokenstream.viewer.otlp import Rows, Span
from otel_tokenstream.viewer.retention import Retention
from otel_tokenstream.viewer.store import NotStoredError, Store
from otel_tokenstream.viewer.streams import newest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def generation(number: int, text: Any = "") -> Span:
    return Span(
        trace_id=f"{number:032x}",
        span_id=f"{number:016x}",
        parent_id="",
        service="shop",
        name="chat m",
        kind="client",
        start_ns=number,
        end_ns=number + 1,
        status="unset",
        status_message="",
        attributes={signals.OUTCOME: "completed", "text": text},
        events=[],
        resource={},
    )


def stored(store: Store) -> list[int]:
    with store.reading() as connection:
        return [int(stream["start_unix_ns"]) for stream in newest(connection, {}, 1000, time.time_ns())]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What a careless shell would have; the modes must not depend on it."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_was_received_survives_a_restart(tmp_path: Path) -> None:
    """Streams, pictures and metrics are the same after the viewer was stopped and started."""
    path = tmp_path / "viewer.db"
    with running(database=path) as viewer:
        app = Application(viewer)
        context = app.stream(Stream(paced(40, fields=["answer"])))
        app.gauges(1, 0)
        app.close()
        before = streams(viewer), detail(viewer, ids(context)), get(viewer, "/api/metrics")["metrics"]
    with running(database=path) as viewer:
        assert (streams(viewer), detail(viewer, ids(context)), get(viewer, "/api/metrics")["metrics"]) == before


@pytest.mark.usefixtures("open_umask")
def test_only_the_owner_may_read_the_database(tmp_path: Path) -> None:
    """The database, its write-ahead log and index, and the directory made for it."""
    path = tmp_path / "new" / "deeper" / "viewer.db"
    store = Store(path)
    store.submit(Rows(spans=[generation(1)])).result()
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["viewer.db", "viewer.db-shm", "viewer.db-wal"]
    assert {mode(file) for file in files} == {0o600}
    assert mode(path.parent) == 0o700
    store.close()


@pytest.mark.usefixtures("open_umask")
def test_a_file_others_could_read_is_closed_to_them_and_their_directory_left_alone(tmp_path: Path) -> None:
    """A directory that was there before may be shared for a reason; the file is ours."""
    tmp_path.chmod(0o755)
    path = tmp_path / "viewer.db"
    Store(path).close()
    path.chmod(0o644)
    Store(path).close()
    assert (mode(path), mode(tmp_path)) == (0o600, 0o755)


def test_the_default_place_is_the_users_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By XDG_DATA_HOME where it is set; a directory that is there already is closed to others."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tmp_path / "otel-tokenstream" / "viewer.db"
    path.parent.mkdir(mode=0o755)
    with running() as viewer:
        assert viewer.database == path
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


@pytest.mark.parametrize("make", ["text", "another database", "another version"])
def test_a_file_that_is_not_the_viewers_is_refused_unharmed(tmp_path: Path, make: str) -> None:
    """The message names the file and the way out; the file keeps its content."""
    path = tmp_path / "other"
    if make == "text":
        path.write_text("Dear diary, " * 1000)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE notes (text)")
            if make == "another version":
                connection.execute("PRAGMA user_version = 999")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"other is not a viewer database .* --database"):
        Store(path)
    assert path.read_bytes() == before


def test_old_rows_go_while_the_viewer_runs(tmp_path: Path) -> None:
    """Without a new request and without a restart."""
    changed = threading.Semaphore(0)
    store = Store(tmp_path / "viewer.db", Retention(days=1 / 86_400), changed.release, sweep_seconds=0.05)
    store.submit(Rows(spans=[generation(1)])).result()
    assert stored(store) == [1]
    assert changed.acquire(timeout=10), "the request"
    assert changed.acquire(timeout=10), "the sweep"
    assert stored(store) == []
    store.close()


def test_the_database_stays_below_its_size(tmp_path: Path) -> None:
    """Ten times the bound goes through; the oldest streams go, the newest stay, the files stay small."""
    bound = 8 * 2**20
    path = tmp_path / "viewer.db"
    store = Store(path, Retention(max_bytes=bound))
    largest: dict[str, int] = {}
    for number in range(400):
        store.submit(Rows(spans=[generation(number, os.urandom(100_000).hex())])).result()
        for file in tmp_path.iterdir():
            largest[file.suffix] = max(largest.get(file.suffix, 0), file.stat().st_size)
    kept = stored(store)
    store.close()
    assert largest[".db"] <= bound
    assert largest[".db-wal"] <= 8 * 2**20, "the newest writes, until they are folded in"
    assert kept == list(range(399, 399 - len(kept), -1))
    assert len(kept) >= bound * 0.6 / 200_000


def test_a_request_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    """Its sender is told, its neighbours in the same transaction are stored, the writer goes on."""
    store = Store(tmp_path / "viewer.db")
    bad = [object() if number == 5 else "" for number in range(10)]
    pending = [store.submit(Rows(spans=[generation(number, text)])) for number, text in enumerate(bad)]
    failed = [number for number, done in enumerate(pending) if done.exception(timeout=10)]
    assert failed == [5]
    assert isinstance(pending[5].exception(), NotStoredError)
    store.submit(Rows(spans=[generation(10)])).result(timeout=10)
    assert stored(store) == [10, 9, 8, 7, 6, 4, 3, 2, 1, 0]
    store.close()


def test_closing_writes_what_was_submitted(tmp_path: Path) -> None:
    """Nothing acknowledged later than asked for is lost at the end."""
    store = Store(tmp_path / "viewer.db")
    pending = [store.submit(Rows(spans=[generation(number)])) for number in range(50)]
    store.close()
    assert all(done.done() and done.exception() is None for done in pending)
    again = Store(tmp_path / "viewer.db")
    assert len(stored(again)) == 50
    again.close()


@pytest.mark.parametrize("days", [0, -1, float("nan")])
def test_a_retention_that_keeps_nothing_is_refused(days: float) -> None:
    """With the value and what is allowed."""
    with pytest.raises(ValueError, match="above 0"):
        Retention(days)


def test_a_busy_store_refuses_instead_of_growing(tmp_path: Path) -> None:
    """While another process holds the database, requests wait up to a bound, then are told to come back."""
    path = tmp_path / "viewer.db"
    store = Store(path)
    other = database.connect(path)
    other.execute("BEGIN IMMEDIATE")

    def flood() -> None:
        for number in range(200):
            store.submit(Rows(spans=[generation(number)]))

    with pytest.raises(NotStoredError, match="wait"):
        flood()
    other.execute("COMMIT")
    other.close()
    store.close()
