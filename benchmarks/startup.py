"""What this package adds to the start of a program under opentelemetry-instrument, in time and memory.

``opentelemetry-instrument python -c pass`` with our entry points and without them (disabled by name), in
turns, so that whatever else the machine does meets both; medians and their difference. litellm and DSPy
are installed in both cases and imported in none.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [str(Path(sys.executable).parent / "opentelemetry-instrument"), sys.executable, "-c", "pass"]
WITH, WITHOUT = "with", "without"
# Other packages' instrumentations, which the tests bring along, import their libraries at the start.
OTHERS = "aiohttp-client,dspy,httpx,litellm,openai"
DISABLED = {WITH: OTHERS, WITHOUT: f"{OTHERS},tokenstream_litellm,tokenstream_dspy"}


def start(case: str) -> tuple[float, float]:
    """Milliseconds and peak megabytes of one program from start to end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = DISABLED[case]
    started = time.perf_counter()
    process = subprocess.Popen(COMMAND, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return (time.perf_counter() - started) * 1e3, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=25, help="of each case")
    runs = parser.parse_args().runs
    found: dict[str, list[tuple[float, float]]] = {WITH: [], WITHOUT: []}
    for case in (WITH, WITHOUT):
        start(case)  # compiled modules and files in memory, as at every start but the first
    for number in range(runs):
        for case in (WITH, WITHOUT) if number % 2 else (WITHOUT, WITH):
            found[case].append(start(case))
    medians = {
        case: [statistics.median(column) for column in zip(*values, strict=True)] for case, values in found.items()
    }
    for case, (milliseconds, megabytes) in medians.items():
        print(f"{case:8} {milliseconds:8.1f} ms {megabytes:8.1f} MB")
    print(
        f"{'added':8} {medians[WITH][0] - medians[WITHOUT][0]:8.1f} ms {medians[WITH][1] - medians[WITHOUT][1]:8.1f} MB"
    )


if __name__ == "__main__":
    main()
