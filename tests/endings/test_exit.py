"""A program that exits while streams of its libraries are open: each is one span, told as it was left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from tests import zero_code
from tests.endings.leaving_at_exit import WAYS
from tests.endings.table import NEVER_ENDS

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_streams_that_are_open_at_exit(way: str, provider: ScriptedProvider) -> None:
    """As many spans as streams, with what had come, and nothing is said on the way out."""
    _, entries, outcome = WAYS[way]
    provider.scripts |= {entry.model: entry.script(NEVER_ENDS) for entry in entries}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [zero_code.COMMAND, sys.executable, "-m", "tests.endings.leaving_at_exit", way, provider.address],
        env={
            **inherited,
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": zero_code.OTHERS,
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    spans = [span for span in _objects(done.stdout) if signals.OUTCOME in span["attributes"]]

    assert done.returncode == 0, done.stderr
    assert "otel-tokenstream" not in done.stderr, done.stderr
    assert Counter(span["attributes"][signals.OUTCOME] for span in spans) == {outcome: len(entries)}
    assert all(span["attributes"][signals.CHUNKS] for span in spans)
    assert all(span["status"]["status_code"] == "UNSET" for span in spans)


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects that the console exporter printed, among what the libraries print."""
    found, decoder, at = [], json.JSONDecoder(), text.find("{\n")
    while at >= 0:
        value, end = decoder.raw_decode(text, at)
        found.append(value)
        at = text.find("{\n", end)
    return found
