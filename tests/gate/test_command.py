from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from otel_tokenstream.gate import command as gate
from otel_tokenstream.gate.recordings import Sides
from tests import zero_code
from tests.gate.made_streams import configured, streams

PROGRAM = """
import os, sys, openai
chat = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="none").chat
for _ in range(int(sys.argv[2])):
    list(chat.completions.create(model=sys.argv[1], messages=[{"role": "user", "content": "Tides?"}], stream=True))
"""
CONFIGURATION = """
[[budget]]
name = "asked"
failed_share = "20 %"
first_token_p50 = "5 s"
"""
NO_WARM_UP = ["gate", "run", "--warm-up", "0"]
REGRESSION = '[[regression]]\nfirst_token_p50 = "50 %"\n'


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: ScriptedProvider) -> Path:
    """A program that asks the scripted provider; its models answer early and late."""
    provider.scripts["early"] = Script(pieces=["a ", "b"], first_piece=0.01, gap=0.001)
    provider.scripts["late"] = Script(pieces=["a ", "b"], first_piece=0.2, gap=0.001)
    monkeypatch.setenv("BASE_URL", provider.base_url)
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", zero_code.OTHERS)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenstream-gate.toml").write_text(CONFIGURATION, encoding="utf-8")
    path = tmp_path / "ask.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_a_program_is_run_recorded_and_judged(program: Path, tmp_path: Path) -> None:
    """The warm-up does not count, the recording is kept, and the decision is written in every form."""
    outputs = {name: tmp_path / f"gate.{name}" for name in ("json", "junit", "markdown", "html")}
    words = [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    command = [
        "gate",
        "run",
        "--repeat",
        "2",
        "--save",
        "kept",
        *words,
        "--",
        sys.executable,
        str(program),
        "early",
        "12",
    ]
    assert main(command) == 0

    told = json.loads(outputs["json"].read_text(encoding="utf-8"))
    assert told["candidate_streams"] == 24
    assert told["environment"]["packages"]["openai"]
    assert all(path.stat().st_size for path in outputs.values())
    (recording,) = (tmp_path / "kept").glob("*.db")

    (tmp_path / "tokenstream-gate.toml").write_text(REGRESSION, encoding="utf-8")
    late = [*NO_WARM_UP, "--repeat", "2", "--baseline", "kept", "--", sys.executable, str(program), "late", "12"]
    assert main(late) == 1
    assert main(["gate", str(recording), "--baseline", "kept"]) == 0


def test_two_programs_take_turns(program: Path, tmp_path: Path) -> None:
    """The slower one fails against the other, run beside it."""
    (tmp_path / "tokenstream-gate.toml").write_text(REGRESSION, encoding="utf-8")
    before = f"{sys.executable} {program} early 12"
    words = ["gate", "run", "--repeat", "2", "--json", "gate.json", "--baseline-command", before, "--"]
    assert main([*words, sys.executable, str(program), "late", "12"]) == 1

    told = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert (told["candidate_streams"], told["baseline_streams"]) == (24, 24)


@pytest.mark.usefixtures("program")
def test_a_program_that_fails_is_no_measurement(capfd: pytest.CaptureFixture[str]) -> None:
    """Half a run would be judged as a whole one."""
    assert main([*NO_WARM_UP, "--", sys.executable, "-c", "raise SystemExit(3)"]) == 2
    assert "exit code 3" in capfd.readouterr().err


@pytest.mark.usefixtures("program")
def test_a_program_that_is_missing_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is run, the other program of the two neither."""
    other = shlex.join([sys.executable, "-c", "print('ran')"])
    for words in (["--", "nosuchprogram"], ["--baseline-command", "nosuchprogram", "--", *shlex.split(other)]):
        assert main([*NO_WARM_UP, *words]) == 2
        told = capfd.readouterr()
        assert told.err.startswith("otel-tokenstream gate: nosuchprogram: not found")
        assert "ran" not in told.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs --baseline"),
        (["--baseline", "missing.db"], "missing.db"),
        (["--baseline", "."], "has no recording"),
        (["--baseline", "ask.py", "--json", "missing/gate.json"], "missing/gate.json cannot be written"),
        (["--baseline", "ask.py", "--html", "."], ". cannot be written"),
    ],
)
def test_nothing_is_run_for_a_judgement_that_cannot_be_made(
    program: Path, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    """The runs may take hours."""
    (program.parent / "tokenstream-gate.toml").write_text(REGRESSION, encoding="utf-8")
    assert main([*NO_WARM_UP, *words, "--", sys.executable, "-c", "print('ran')"]) == 2
    told = capfd.readouterr()
    assert says in told.err
    assert "ran" not in told.out


def test_a_folder_of_baselines_is_read_before_it_gets_the_new_recording(program: Path, tmp_path: Path) -> None:
    """The newest in it would be the program's own; the folder that is made for it may have the decision too."""
    words = [*NO_WARM_UP, "--repeat", "2", "--save", "kept"]
    assert main([*words, "--json", "kept/gate.json", "--", sys.executable, str(program), "early", "12"]) == 0
    assert (tmp_path / "kept" / "gate.json").exists()
    (tmp_path / "kept" / "gate.json").unlink()
    (tmp_path / "tokenstream-gate.toml").write_text(REGRESSION, encoding="utf-8")
    time.sleep(1)  # recordings are named by their second
    assert main([*words, "--baseline", "kept", "--", sys.executable, str(program), "late", "12"]) == 1


@pytest.mark.parametrize("words", [["--newest", "0"], ["--newest", "-1"], ["--tempo", "nonsense"], ["--since", "1"]])
def test_wrong_words_are_refused_before_anything_is_read(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As the report refuses them."""
    with pytest.raises(SystemExit) as ended:
        main(["gate", "some.jsonl", *words])
    assert ended.value.code == 2
    assert f"error: argument {words[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize("is_read", [True, False])
def test_a_verdict_does_not_depend_on_who_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_read: bool
) -> None:
    """An output that lacks the table's letters or has no reader changes neither exit code nor files."""
    arguments = Namespace(json=tmp_path / "gate.json", junit=None, markdown=None, html=None)
    sides = Sides("größe ≤", streams([100.0] * 59))
    reading, writing = os.pipe()
    if not is_read:
        os.close(reading)
    with os.fdopen(writing, "w", encoding="ascii") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert gate._judged(arguments, configured(first_token_p95="2.5 s"), sides) == 0
    assert json.loads(arguments.json.read_text(encoding="utf-8"))["verdict"] == "pass"
    if is_read:
        with os.fdopen(reading) as told:
            assert "first_token_p95" in told.read()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gate"], "name a recording"),
        (["gate", "missing.jsonl"], "missing.jsonl"),
        (["gate", "ask.py", "--candidate", "version=2"], "go together"),
        (["gate", "ask.py", "--config", "other.toml"], "docs/gate.md"),
    ],
)
def test_an_error_of_usage_is_explained_with_exit_code_2(
    program: Path, capfd: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    """Neither a pass nor a failure of the build."""
    assert main(words) == 2
    assert says in capfd.readouterr().err
    assert program.exists()


def test_a_canary_is_judged_by_an_attribute(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of a service stand in one recording."""
    for version, model in (("1.2", "early"), ("1.3", "late")):
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", f"service.version={version}")
        words = [*NO_WARM_UP, "--repeat", "1", "--save", version, "--"]
        assert main([*words, sys.executable, str(program), model, "24"]) == 0
    files: list[Any] = [next((tmp_path / version).glob("*.db")) for version in ("1.2", "1.3")]
    (tmp_path / "tokenstream-gate.toml").write_text(REGRESSION, encoding="utf-8")
    sides = ["--baseline", "version=1.2", "--candidate", "version=1.3"]

    assert main(["gate", *map(str, files), *sides]) == 1
    shutil.rmtree(tmp_path / "1.2")
