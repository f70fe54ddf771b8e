from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.analysis.report import Question, answer
from otel_tokenstream.viewer import database, running
from otel_tokenstream.viewer.detail import detail as detail_of
from otel_tokenstream.viewer.listing import Order, page
from otel_tokenstream.viewer.otlp import Point, Record, Rows, Span
from otel_tokenstream.viewer.retention import Retention
from otel_tokenstream.viewer.selection import Selection
from otel_tokenstream.viewer.store import NotStoredError, Store
from tests.viewer.scenes import Application, Stream, ids, paced
from tests.viewer.viewer_client import ask, detail, get, streams

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
    with store.listing() as (connection, index):
        found = page(index, connection, Selection(), Order("start", descending=True), 0, 1000, time.time_ns())
    return [int(stream["start_unix_ns"]) for stream in found["streams"]]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """What a careless shell would have; the modes must not depend on it."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_received_data_survives_a_restart(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("make", ["text", "another database", "another version", "same version", "same tables"])
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
            elif make != "another database":
                connection.execute("PRAGMA user_version = 1")
            if make == "same tables":
                for table in ("spans", "streams", "records", "points"):
                    connection.execute(f"CREATE TABLE {table} (trace_id, note)")
        connection.close()
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"other is not a viewer database .* --database"):
        Store(path)
    assert (path.read_bytes(), mode(path)) == (before, 0o644)


def test_a_database_of_another_application_is_refused(tmp_path: Path) -> None:
    """Whatever its tables are; and a database from before the mark was made is marked and kept."""
    path = tmp_path / "viewer.db"
    Store(path).close()
    for mark, ours in ((12345, False), (0, True)):
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA application_id = {mark}")
        connection.close()
        if not ours:
            with pytest.raises(ValueError, match="is not a viewer database"):
                Store(path)
    store = Store(path)
    store.submit(Rows(spans=[generation(1)])).result(timeout=60)
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x746F6B73,)
    connection.close()


@pytest.mark.parametrize("how", ["deleted", "with its log", "with its directory", "moved and replaced"])
def test_a_database_deleted_while_running_is_begun_anew(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What comes from then on is stored in a file that is there; readers see it, and the log tells."""
    path = tmp_path / "own" / "viewer.db"
    store = Store(path)
    store.submit(Rows(spans=[generation(1)])).result(timeout=60)
    assert stored(store) == [1]
    if how == "with its directory":
        shutil.rmtree(path.parent)
    elif how == "moved and replaced":
        path.rename(tmp_path / "old.db")
        Store(path).close()
    else:
        for file in path.parent.iterdir():
            if file == path or how == "with its log":
                file.unlink()
    store.submit(Rows(spans=[generation(2)])).result(timeout=60)
    assert stored(store) == [2]
    store.close()
    assert path.exists()
    again = Store(path)
    assert stored(again) == [2]
    again.close()
    assert ("was deleted while the viewer ran" in caplog.text) == (how != "moved and replaced")


def test_a_damaged_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    """By the pages, the figures and the report, while it is being served; what is sent may be sent again."""
    path = tmp_path / "viewer.db"
    with running(database=path) as viewer:
        app = Application(viewer)
        for number in range(40):
            app.stream(Stream(paced(40, seed=number)))
        app.close()
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(8 * 4096)
        file.write(b"\x7f" * (size - 9 * 4096))
    with running(database=path) as viewer:
        for where in ("/api/streams", "/report", "/api/report"):
            told = ask(viewer, where)
            assert told.status == 500
            assert "viewer.db" in told.body.decode()
            assert "malformed" in told.body.decode()
        assert ask(viewer, "/").status == 200


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of five streams, to be copied."""
    path = tmp_path_factory.mktemp("five") / "viewer.db"
    store = Store(path)
    store.submit(Rows(spans=[generation(number) for number in range(1, 6)])).result(timeout=60)
    store.close()
    return path


@pytest.mark.parametrize("column", ["attributes", "events", "resource", "fields", "progress"])
@pytest.mark.parametrize("bad", ["", "{", "[1]", "null", '"x"', '{"stalls": 7}', '{"chunks": 1e999}', b"\xff", 7])
def test_a_row_that_cannot_be_read_takes_no_page_down(tmp_path: Path, five: Path, column: str, bad: Any) -> None:
    """It is left out or shown without its figures; the others are there."""
    path = shutil.copy(five, tmp_path / "viewer.db")
    with sqlite3.connect(path) as connection:
        table = "streams" if column in {"fields", "progress"} else "spans"
        connection.execute(
            f"UPDATE {table} SET {column} = ?, trace_id = trace_id WHERE span_id = ?", (bad, f"{3:016x}")
        )
    connection.close()
    store = Store(path)
    assert {1, 2, 4, 5} <= set(stored(store))
    with store.reading() as connection:
        assert detail_of(connection, f"{2:032x}", f"{2:016x}", time.time_ns())
    store.close()
    assert answer(Question(files=(path,))).total.streams in {4, 5}


def test_a_reader_notices_a_deleted_database_first(tmp_path: Path) -> None:
    """Without a write in between the list is empty, and not of what is no longer there."""
    path = tmp_path / "viewer.db"
    store = Store(path)
    store.submit(Rows(spans=[generation(1)])).result(timeout=60)
    path.unlink()
    assert stored(store) == []
    store.submit(Rows(spans=[generation(2)])).result(timeout=60)
    assert stored(store) == [2]
    store.close()


def test_old_rows_go_while_the_viewer_runs(tmp_path: Path) -> None:
    """Without a new request and without a restart."""
    changed = threading.Semaphore(0)
    store = Store(tmp_path / "viewer.db", Retention(days=1 / 86_400), changed.release, sweep_seconds=0.05)
    store.submit(Rows(spans=[generation(1)])).result()
    assert stored(store) == [1]
    assert changed.acquire(timeout=60), "the request"
    assert changed.acquire(timeout=60), "the sweep"
    assert stored(store) == []
    store.close()


@pytest.mark.parametrize("days", [1_000_000, float("inf")])
def test_an_age_beyond_the_clock_keeps_everything(tmp_path: Path, days: float) -> None:
    """The writer sweeps with it, and goes on."""
    store = Store(tmp_path / "viewer.db", Retention(days), sweep_seconds=0.02)
    for number in (1, 2):
        store.submit(Rows(spans=[generation(number)])).result(timeout=60)
        time.sleep(0.05)
    assert stored(store) == [2, 1]
    store.close()


def test_a_sweep_that_fails_does_not_end_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the fault; what comes next is stored."""
    swept = threading.Semaphore(0)

    def fail(*_: object) -> bool:
        swept.release()
        raise OverflowError

    monkeypatch.setattr("otel_tokenstream.viewer.store.sweep", fail)
    store = Store(tmp_path / "viewer.db", sweep_seconds=0.02)
    assert swept.acquire(timeout=60)
    assert swept.acquire(timeout=60)
    store.submit(Rows(spans=[generation(1)])).result(timeout=60)
    assert stored(store) == [1]
    store.close()
    assert "could not bound the size" in caplog.text


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


@pytest.mark.parametrize("kind", ["new instances", "new streams", "large values"])
def test_metrics_and_open_streams_stay_below_the_size_too(tmp_path: Path, kind: str) -> None:
    """Four times the bound goes through, of series or of streams that never get a span; the newest stay."""
    bound = 8 * 2**20
    path = tmp_path / "viewer.db"
    store = Store(path, Retention(max_bytes=bound))
    largest = 0
    for number in range(200):
        store.submit(Rows(**_small_rows(number, kind))).result(timeout=60)
        largest = max(largest, path.stat().st_size)
    with store.reading() as connection:
        table = "streams" if kind == "new streams" else "points"
        kept = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        newest_kept = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0]
    store.close()
    assert largest <= bound
    assert 0 < kept < newest_kept == 200 * 200


def _small_rows(number: int, kind: str) -> dict[str, Any]:
    ids = range(number * 200, number * 200 + 200)
    if kind == "new streams":
        attributes = {signals.AT_OFFSET_US: 1, signals.AT_INDEX: 0}
        records = [Record(f"{i:032x}", f"{i:016x}", "s", signals.TOKEN_EVENT, 1, "", None, attributes) for i in ids]
        return {"records": records}
    value = list(range(50)) if kind == "large values" else 1
    points = [Point("s", "m", "1", "gauge", 1, {}, {"service.instance.id": f"{i:036}"}, value) for i in ids]
    return {"points": points}


def test_a_request_that_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    """Its sender is told how much, its neighbours in the same transaction are stored, the writer goes on."""
    store = Store(tmp_path / "viewer.db")
    bad = [object() if number == 5 else "" for number in range(10)]
    pending = [store.submit(Rows(spans=[generation(number, text)])) for number, text in enumerate(bad)]
    rejected = [done.result(timeout=60) for done in pending]
    assert [number for number, reasons in enumerate(rejected) if reasons] == [5]
    assert rejected[5] == {"cannot be stored: TypeError": 1}
    store.submit(Rows(spans=[generation(10)])).result(timeout=60)
    assert stored(store) == [10, 9, 8, 7, 6, 4, 3, 2, 1, 0]
    store.close()


def test_the_write_queue_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Few large requests fill memory as well as many small ones; one alone is taken whatever its size."""
    path = tmp_path / "viewer.db"
    store = Store(path)
    other = database.connect(path)
    other.execute("BEGIN IMMEDIATE")
    large = [Rows(spans=[generation(number)], size=15 * 2**20) for number in range(5)]

    taken: list[Any] = []

    def flood() -> None:
        for rows in large:
            taken.append(store.submit(rows))  # noqa: PERF401  # until it is refused

    with pytest.raises(NotStoredError, match="bytes wait"):
        flood()
    other.execute("COMMIT")
    other.close()
    for each in taken:
        each.result(timeout=60)
    store.submit(Rows(spans=[generation(9)], size=2**30)).result(timeout=60)
    store.close()


def test_an_ended_viewer_leaves_one_file(tmp_path: Path) -> None:
    """Also after it was read from: the write-ahead log is folded in, so that the file can be copied as it is."""
    store = Store(tmp_path / "viewer.db")
    store.submit(Rows(spans=[generation(1)])).result(timeout=10)
    assert stored(store) == [1]
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["viewer.db"]


def test_closing_writes_all_submitted_rows(tmp_path: Path) -> None:
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
