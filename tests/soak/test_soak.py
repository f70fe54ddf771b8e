from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory by /proc")
def test_a_minute_of_mixed_endings_loses_no_span_and_keeps_its_size() -> None:
    """A hundred streams at once, and a receiver that is killed twice: as many spans as streams, and flat memory."""
    done = subprocess.run(
        [sys.executable, str(SOAK), "--seconds", "60"], capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
