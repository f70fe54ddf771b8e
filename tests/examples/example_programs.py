"""The examples as their readers run them, against scripts with known answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.prose import token_like
from tests import zero_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider import ScriptedProvider

RUN = [sys.executable, str(Path(__file__).parents[2] / "examples" / "run.py")]


def command(provider: ScriptedProvider, name: str, model: str = "openai/test") -> list[str]:
    return [*RUN, name, "--model", model, "--base-url", provider.base_url]


def environment(**variables: str) -> dict[str, str]:
    """The caller's, without the OTEL_ variables of its own; servers take any port, for other tests run at once."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**inherited, "PORT": "0", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": zero_code.OTHERS, **variables}


def run(command: Sequence[str], given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=environment(**variables), input=given, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done


@contextmanager
def chat(provider: ScriptedProvider, **variables: str) -> Iterator[str]:
    """Run the chat and give its address."""
    process = subprocess.Popen(
        command(provider, "chat"), env=environment(**variables), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = (re.match(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)
        yield next(match[0] for match in found if match)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def answering(answers: Mapping[str, str], gap: float = 0.01, **more: Any) -> Script:
    """A script for a DSPy program that finds the answer by the first question it is asked."""

    def pieces(request: Mapping[str, Any]) -> list[str]:
        asked = request["messages"][-1]["content"]
        answer = next(answer for question, answer in answers.items() if question in asked)
        thought = "[[ ## reasoning ## ]]\nHm.\n\n" if "reasoning" in asked else ""
        return token_like(f"{thought}[[ ## answer ## ]]\n{answer}\n\n[[ ## completed ## ]]\n")

    return Script(pieces=pieces, gap=gap, **more)
