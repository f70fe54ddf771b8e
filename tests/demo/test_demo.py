from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import viewer
from otel_tokenstream.cli import main
from otel_tokenstream.demo import backend
from otel_tokenstream.demo.expectations import FIELDS, SCRIPTED_CALLS, SCRIPTED_METRICS, missing
from otel_tokenstream.demo.measured import Viewer
from otel_tokenstream.demo.provider import human

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider


@pytest.fixture
def handlers() -> Iterator[None]:
    """Those of this process, which the demo changes."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def hurried(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider of the demo with its own scripts, but less like a human: the pauses alone are as long."""
    provider.scripts = {
        name: replace(script, gap=0.003, first_piece=0.05) for name, script in human.NAMED_SCRIPTS.items()
    }
    about = {"DEMO_BASE_URL": provider.base_url, "DEMO_API_KEY": "none", "DEMO_TROUBLE": "1"}
    asked = backend.Backend("a scripted provider", {"DEMO_MODEL": "openai/human", **about}, scripted=True)
    monkeypatch.setattr(backend, "_scripted", lambda _: asked)


@pytest.mark.usefixtures("handlers", "hurried")
def test_demo_sees_every_call_of_both_programs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Viewer and both programs run as processes, and all telemetry the check expects arrives.

    An endpoint meant for the user's own programs is not used.
    """
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    code = main(["demo", "--check"])
    shown = capfd.readouterr()

    assert code == 0, shown.out + shown.err
    assert "All expected telemetry arrived." in shown.out
    assert "demo-dspy" in shown.out


def test_check_names_the_missing_telemetry(tmp_path: Path) -> None:
    """With a viewer that received nothing every expectation is missed by name."""
    with viewer.running(database=tmp_path / "empty.db") as running:
        lines = "\n".join(missing(Viewer(running.url), [], scripted=True))

    assert all(f"metric {name}" in lines for name in SCRIPTED_METRICS)
    assert all(field in lines for field in FIELDS)
    assert all(f"calls of {calls.model}, " in lines for calls in SCRIPTED_CALLS)
    assert "as one stall" in lines
    assert "slow reader" in lines


@pytest.mark.usefixtures("handlers")
def test_key_is_taken_from_a_variable_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """A variable that is not set is named in the error."""
    assert main(["demo", "--model", "some-model", "--api-key-env", "NO_SUCH_KEY"]) == 1
    said = capsys.readouterr().out
    assert "--api-key-env names NO_SUCH_KEY, but the environment has no such variable" in said
