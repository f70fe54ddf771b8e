"""Streams that are given up by the hundred: nothing stays open or in memory that would not without us."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import litellm
import pytest

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "abandoned.py"


def test_dropping_a_stream_closes_its_connection(provider: ScriptedProvider) -> None:
    """The contexts that litellm copies for its background work keep nothing of a call alive."""
    provider.scripts["hang"] = Script(pieces=["a"], gap=0, ending="hang")
    with capture():
        for _ in range(4):
            stream = litellm.completion(
                model="openai/hang",
                messages=[{"role": "user", "content": "Go on."}],
                stream=True,
                api_base=provider.base_url,
                api_key="none",
            )
            next(stream)
        del stream
        gc.collect()
        deadline = time.monotonic() + 60
        # litellm itself keeps the newest for a while.
        while any(exchange.ended == "open" for exchange in provider.log.exchanges()[:3]):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("left", ["dropped", "closed", "pending"])
def test_the_collector_may_find_a_stream_inside_the_sdks_locks(left: str) -> None:
    """Dropped, closed by a closing generator, or with its read pending: the end waits until it may be recorded."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--streams", "50", "--in-locks", left],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["spans"], told["open"]) == (50, 0)
