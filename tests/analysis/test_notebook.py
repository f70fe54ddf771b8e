"""Streams in Python and in notebooks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

from otel_tokenstream.analysis import notebook
from otel_tokenstream.viewer import running
from tests.viewer.scenes import Application, Stream, paced

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notebook") / "viewer.db"
    with running(database=path) as viewer:
        app = Application(viewer, "shop")
        app.stream(Stream(paced(8), model="<b>one</b>", extra=(("tier", "gold"),)))
        app.stream(Stream(paced(9), model="two", outcome="failed", error_type="Timeout"))
        app.close()
    return path


def test_streams_are_a_data_frame(recorded: Path) -> None:
    """A row a stream: measures by name, times in UTC, attributes asked for; NaN where nothing was measured."""
    streams = notebook.load(recorded, attributes=["tier"])
    frame = streams.frame()
    starts = [stream.start_ns for stream in streams]
    assert [int(at.value) for at in frame["start"]] == starts == sorted(starts)
    frame = frame.sort_values("chunks", ignore_index=True)
    assert list(frame["model"]) == ["<b>one</b>", "two"]
    assert list(frame["chunks"]) == [8, 9]
    assert list(frame["first_token_ms"]) == [400, 400]
    assert frame["tier"][0] == "gold"
    assert list(frame["tier"].isna()) == [False, True]
    assert frame["cost_usd"].isna().all()
    assert str(frame["start"].dt.tz) == "UTC"
    failed = notebook.load(recorded, where="outcome=failed")
    assert [stream.error_type for stream in failed] == ["Timeout"]
    assert list(notebook.Streams([]).frame().columns)[:3] == ["trace_id", "span_id", "start"]


def test_a_notebook_shows_a_list_and_a_stream(recorded: Path) -> None:
    """In a real kernel: tables, in which a name that is markup stays text."""
    code = f"""
from pathlib import Path
from otel_tokenstream.analysis import notebook
streams = notebook.load(Path({str(recorded)!r}))
display(streams)
display(streams[0])
"""
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(book, timeout=100, kernel_name="python3").execute()
    shown: list[Any] = [output["data"]["text/html"] for output in book.cells[0].outputs]
    assert "<td>two</td>" in shown[0]
    assert "&lt;b&gt;one&lt;/b&gt;" in shown[0]
    assert "<td>first token</td><td>400 ms</td>" in shown[1]
    assert "<b>" not in "".join(shown)


def test_without_pandas_the_extra_is_named(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match=r"otel-tokenstream\[notebook\]"):
        notebook.load(recorded).frame()
