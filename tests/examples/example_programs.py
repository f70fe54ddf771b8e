"""The examples as their readers run them, against scripts with known answers."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.prose import token_like
from tests import zero_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from otel_tokenstream.demo.provider import ScriptedProvider
    from tests.processes.received import Receiver

EXAMPLES = Path(__file__).parents[2] / "examples"
RUN = [sys.executable, str(EXAMPLES / "run.py")]


def command(provider: ScriptedProvider, name: str, model: str = "openai/test") -> list[str]:
    return [*RUN, name, "--model", model, "--base-url", provider.base_url]


def environment(**variables: str) -> dict[str, str]:
    """The caller's, without the OTEL_ variables of its own; servers take any port, for other tests run at once."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**inherited, "PORT": "0", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": zero_code.OTHERS, **variables}


def exported(receiver: Receiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}


def run(command: Sequence[str], given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=environment(**variables), input=given, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done


def play(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, name: str, module: str = "__main__", **variables: str
) -> dict[str, Any]:
    """Run an example's file in this process, which has imported its libraries already, and return what it defines."""
    about = {"DEMO_MODEL": "openai/test", "DEMO_BASE_URL": provider.base_url, "DEMO_API_KEY": "none", **variables}
    for variable, value in about.items():
        monkeypatch.setenv(variable, value)
    path = EXAMPLES / name
    monkeypatch.syspath_prepend(path.parent)
    try:
        return runpy.run_path(str(path), run_name=module)
    finally:
        for beside in ("connection", "page_files", "server"):  # they read the variables when they are imported
            sys.modules.pop(beside, None)


def answering(answers: Mapping[str, str], gap: float = 0.01, **more: Any) -> Script:
    """A script for a DSPy program that finds the answer by the first question it is asked."""

    def pieces(request: Mapping[str, Any]) -> list[str]:
        asked = request["messages"][-1]["content"]
        answer = next(answer for question, answer in answers.items() if question in asked)
        thought = "[[ ## reasoning ## ]]\nHm.\n\n" if "reasoning" in asked else ""
        return token_like(f"{thought}[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]\n")

    return Script(pieces=pieces, gap=gap, **more)
