from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from tests import zero_code

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
