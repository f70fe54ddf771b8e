"""What this package adds to the start of a program under opentelemetry-instrument, in a user's environment.

The environment has ``pip install "otel-tokenstream[auto]" litellm dspy`` and nothing else, with this
checkout's wheel; it is made here and kept by the wheel's content in the user's cache. Among the
tests' packages the measurement would be wrong: they load much of what ours needs in any case.

``opentelemetry-instrument python -c pass``, and ``-c "import litellm"``, with our entry points and
without them (disabled by name), in turns, so that whatever else the machine does meets both. CPU time
of the process and its peak of memory; medians, their difference and their ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.versions import environments

WITH, WITHOUT = "with", "without"
OURS = "tokenstream_litellm,tokenstream_dspy"


def start(python: Path, program: str, case: str, variables: dict[str, str]) -> tuple[float, float]:
    """Milliseconds of CPU and peak megabytes of one program from start to end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment |= {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", **variables}
    if case == WITHOUT:
        environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = OURS
    command = [str(python.with_name("opentelemetry-instrument")), str(python), "-c", program]
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    return (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss / 1024


def measure(python: Path, title: str, program: str, runs: int, variables: dict[str, str]) -> None:
    found: dict[str, list[tuple[float, float]]] = {WITH: [], WITHOUT: []}
    for case in (WITH, WITHOUT):
        start(python, program, case, variables)  # files in memory, as at every start but the first
    for number in range(runs):
        for case in (WITH, WITHOUT) if number % 2 else (WITHOUT, WITH):
            found[case].append(start(python, program, case, variables))
    (ours, memory), (bare, bare_memory) = (
        [statistics.median(column) for column in zip(*found[case], strict=True)] for case in (WITH, WITHOUT)
    )
    print(
        f"{title:24} {bare:8.1f} ms {bare_memory:7.1f} MB without, {ours:8.1f} ms {memory:7.1f} MB with, "
        f"added {ours - bare:6.1f} ms {memory - bare_memory:5.2f} MB, ratio {ours / bare:.3f}",
        flush=True,
    )


# Title: program, variables, share of the runs.
PROGRAMS: dict[str, tuple[str, dict[str, str], int]] = {
    "start": ("pass", {}, 1),
    "settings": ("pass", {"OTEL_TOKENSTREAM_STALL_THRESHOLD": "1", "OTEL_TOKENSTREAM_EVENTS": "both"}, 1),
    "litellm": ("import litellm", {}, 5),
    "dspy": ("import dspy", {}, 5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=25, help="of each case; a fifth where a library is imported")
    parser.add_argument("programs", nargs="*", help=f"of {', '.join(PROGRAMS)}; all if none is named")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        python = environments.of_a_user(environments.build_wheel(Path(directory)))
    names = ("litellm", "dspy", "openai", "opentelemetry-sdk", "opentelemetry-distro", "wrapt")
    print(", ".join(f"{name} {version}" for name, version in environments.versions(python, *names).items()))
    for title in options.programs or PROGRAMS:
        program, variables, share = PROGRAMS[title]
        measure(python, title, program, max(options.runs // share, 1), variables)


if __name__ == "__main__":
    main()
