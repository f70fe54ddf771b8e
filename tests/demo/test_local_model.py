from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_model_streams_through_everything() -> None:
    """Gemma 3 270M, served by llama.cpp on this machine: all telemetry of both programs reaches the viewer."""
    done = subprocess.run(
        [sys.executable, "-m", "otel_tokenstream.cli", "demo", "--model", "local", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "All expected telemetry arrived." in done.stdout
