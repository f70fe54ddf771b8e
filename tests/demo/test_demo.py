from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from otel_tokenstream import viewer
from otel_tokenstream.demo.expectations import FIELDS, SCRIPTED_CALLS, SCRIPTED_METRICS, missing
from otel_tokenstream.demo.measured import Viewer

if TYPE_CHECKING:
    from pathlib import Path


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otel_tokenstream.cli", "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_demo_sees_every_call_of_both_programs() -> None:
    """Provider, viewer and both programs run as processes, and all telemetry the check expects arrives.

    An endpoint meant for the user's own programs is not used.
    """
    result = demo("--check", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")

    assert result.returncode == 0, result.stdout + result.stderr
    assert "All expected telemetry arrived." in result.stdout
    assert "demo-dspy" in result.stdout


def test_check_names_the_missing_telemetry(tmp_path: Path) -> None:
    """With a viewer that received nothing every expectation is missed by name."""
    with viewer.running(database=tmp_path / "empty.db") as running:
        lines = "\n".join(missing(Viewer(running.url), [], scripted=True))

    assert all(f"metric {name}" in lines for name in SCRIPTED_METRICS)
    assert all(field in lines for field in FIELDS)
    assert all(f"calls of {calls.model}, " in lines for calls in SCRIPTED_CALLS)
    assert "as one stall" in lines
    assert "slow reader" in lines


def test_key_is_taken_from_a_variable_that_exists() -> None:
    """A variable that is not set is named in the error."""
    result = demo("--model", "some-model", "--api-key-env", "NO_SUCH_KEY")

    assert result.returncode == 1
    assert "--api-key-env names NO_SUCH_KEY, but the environment has no such variable" in result.stdout
