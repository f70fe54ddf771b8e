from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "browser_paint.py"


@pytest.mark.slow
def test_tokens_are_painted_within_the_target() -> None:
    """50 streams of 10 tokens a second in one page: none is lost, and the median delay is below 50 ms."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--seconds", "10"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
