from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.demo.children import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.analysis.conftest import Recorded


def test_the_tables_show_the_measured_figures(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """Outcomes, tokens, times, gaps and time, a row for each model."""
    assert main(["report", str(recorded.database)]) == 0
    shown = capsys.readouterr().out
    assert f"{len(recorded.generations)} streams from " in shown
    for title in (
        "Streams and outcomes",
        "Tokens, cost, attempts",
        "First tokens against their objectives",
        "Times and speeds",
        "Gaps between",
        "Over time",
    ):
        assert title in shown
    (row,) = [
        line for line in shown.splitlines() if line.startswith("chat") and "overloaded" in line and "100.0 %" in line
    ]
    assert row.split()[2] == "3"


def test_columns_stand_under_their_heads(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """The rule below the heads is as wide as every row."""
    assert main(["report", str(recorded.lines), "--by", "model"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rules = [index for index, line in enumerate(lines) if line.startswith("──")]
    assert len(rules) >= 4
    for index in rules:
        assert len(lines[index + 1]) <= len(lines[index])


def test_json_instead_of_tables(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else on standard output."""
    assert main(["report", str(recorded.lines), "--json", "--by", "model,outcome"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["by"] == ["model", "outcome"]
    assert {tuple(group["key"].values()) for group in report["groups"]} >= {("cut", "failed"), ("long", "completed")}


def test_a_word_that_is_named_twice_counts_once(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where one of the two is the attribute that the other stands for."""
    twice = "model,model,finish_reason,gen_ai.response.finish_reasons"
    assert main(["report", str(recorded.lines), "--by", twice]) == 0
    assert "gpt-4o-mini" in capsys.readouterr().out
    assert main(["report", str(recorded.lines), "--by", twice, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["by"] == ["model", "gen_ai.response.finish_reasons"]


def test_names_from_outside_cannot_steer_the_terminal(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences, line breaks and reordering marks of a model's name are shown by their codes."""
    path = tmp_path / "hostile.jsonl"
    path.write_text(recorded.lines.read_text().replace('"gpt-4o"', '"\\u001b[2J\\u202eevil\\nname"'))
    assert main(["report", str(path)]) == 0
    shown = capsys.readouterr().out
    assert r"\x1b[2J\u202eevil\nname" in shown
    assert not {"\x1b", "\u202e"} & set(shown)


def test_without_a_database_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing a new user sees."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main(["report"]) == 1
    assert "otel-tokenstream view" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{missing}"], 1, "No such file"),
        (["{lines}", "--where", "model=none"], 1, "no stream that ended in"),
        (["{lines}", "--by", "colour"], 2, "'colour' is nothing streams are told apart by; take one of operation"),
        (["{lines}", "--where", "model"], 2, "'model' is no condition; write it like model=gpt-4o"),
        (["{lines}", "--over", "year"], 2, "'year' is no step of time; take one of auto, second"),
        (["{lines}", "--compare", "model=gpt-4o", "{missing}"], 2, "is neither a file nor a condition"),
        (["{lines}", "--compare", "model=gpt-4o", "model=x"], 1, "model=x finds none among the"),
        (["{lines}", "--query", "{ }"], 2, "--query and --tenant are for --tempo URL"),
        (["{lines}", "--objectives", "{missing}"], 2, "missing: No such file"),
        (["{lines}", "--objectives", "{lines}"], 2, "<document start>"),
        (["{lines}", "--html", "{missing}/out.html"], 1, "No such file"),
        (["--tempo", "http://127.0.0.1:{port}"], 1, "does not answer: "),
    ],
)
def test_an_error_is_explained_with_its_remedy(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    """1 for a source that cannot be read or has nothing, 2 for wrong words; the report itself is not begun."""
    places = {"{missing}": str(tmp_path / "missing"), "{lines}": str(recorded.lines), "{port}": str(free_port())}
    for name, value in places.items():
        words = [word.replace(name, value) for word in words]
    assert main(["report", *words]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert not shown.out


@pytest.mark.parametrize(
    "words",
    [
        ["--since", "yesterday"],
        ["--limit", "0"],
        ["--tempo", "file:///etc"],
        ["--tempo", "http://a:b@host"],
        ["--tempo", "http://127.0.0.1:abc"],
    ],
)
def test_wrong_words_are_refused_before_anything_is_read(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the usual exit code of wrong use."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_fault(recorded: Recorded) -> None:
    """As with head: no traceback, and nothing is wrong."""
    command = [sys.executable, "-m", "otel_tokenstream.cli", "report", str(recorded.lines), "--json", "--by", "model"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_it_needs_nothing_beyond_the_base_install(recorded: Recorded, tmp_path: Path) -> None:
    """A report of every kind of file, as page and as text, loads no package of an extra."""
    program = f"""
import sys
from otel_tokenstream.cli import main
assert main(["report", {str(recorded.database)!r}, {str(recorded.zipped)!r}, "--compare", "model=gpt-4o", "model=cut",
             "--html", {str(tmp_path / "out.html")!r}]) == 0
print(sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stderr.strip().splitlines()[-1]
    for package in ("aiohttp", "google", "grpc", "plotly", "rich", "litellm", "dspy", "numpy", "yaml"):
        assert f"'{package}'" not in loaded
