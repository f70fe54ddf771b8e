from __future__ import annotations

import subprocess
import sys

import pytest

from otel_tokenstream import cli
from otel_tokenstream.analysis import command as report
from otel_tokenstream.doctor import command as doctor
from otel_tokenstream.gate import command as gate

WITHOUT_EXTRAS = """
import sys
for name in ("aiohttp", "grpc", "rich"):
    sys.modules[name] = None  # what an import sees of a package that is not installed
from otel_tokenstream.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("command", "extra"), [("view", "viewer"), ("demo", "demo")])
def test_missing_extra_is_named_with_its_command(command: str, extra: str) -> None:
    """Without the packages of an extra the subcommand says how to install it and exits with 2."""
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, command], capture_output=True, text=True, check=False
    )

    assert result.returncode == 2
    install = f'otel-tokenstream {command} needs the {extra} extra: pip install "otel-tokenstream[{extra}]"'
    assert result.stderr.strip() == install


def test_help_tells_whom_the_demo_can_ask(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripted, local and any other model are explained."""
    with pytest.raises(SystemExit):
        cli.main(["demo", "--help"])

    told = capsys.readouterr().out
    assert all(option in told for option in ("--model local", "--base-url URL", "--api-key-env VARIABLE", "scripted"))


@pytest.mark.parametrize("words", [["gate", "some.jsonl"], ["report"], ["doctor"]])
def test_ctrl_c_ends_a_command_without_a_traceback(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code that a shell has for it."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate, "main", interrupted)
    monkeypatch.setattr(doctor, "main", interrupted)
    monkeypatch.setattr(report, "run", interrupted)
    assert cli.main(words) == 130
