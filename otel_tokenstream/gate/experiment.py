"""``gate run``: programs run under instrumentation, several times, their streams recorded on this machine."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.sources.files import read_file
from otel_tokenstream.commands.program import ProgramError, instrumented
from otel_tokenstream.viewer import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from otel_tokenstream.analysis.stream import Stream

SIDE = "tokenstream.gate.side"
CANDIDATE, BASELINE, WARM_UP = "candidate", "baseline", "warm-up"


class ExperimentError(Exception):
    """A program could not be run or failed; the text says which and what to do."""


@dataclass(frozen=True)
class Plan:
    """``repeats`` counted runs of each program after ``warm_ups`` that are thrown away; ``timeout`` in s a run."""

    candidate: Sequence[str]
    baseline: Sequence[str] | None = None
    repeats: int = 5
    warm_ups: int = 1
    timeout: float = 600.0

    def order(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield the side and the command of each run.

        The two sides alternate as A B B A: a machine that grows slower costs both the same.
        """
        sides = [(CANDIDATE, self.candidate)]
        if self.baseline is not None:
            sides.append((BASELINE, self.baseline))
        for _ in range(self.warm_ups):
            yield from ((WARM_UP, command) for _, command in sides)
        for number in range(self.repeats):
            yield from sides if number % 2 == 0 else reversed(sides)


def run(plan: Plan, database: Path, wanted: Sequence[str], progress: Callable[[str], None]) -> dict[str, list[Stream]]:
    """Run the plan and return the streams of each side with the attributes ``wanted``; ``database`` keeps them.

    Raises:
        ExperimentError: a program did not start, failed, or took longer than its time.
        ModuleNotFoundError: the viewer's extra, which records, is not installed.

    """
    try:
        runs = [(side, instrumented(command)) for side, command in plan.order()]
    except ProgramError as error:
        raise ExperimentError(str(error)) from error
    with running(database=database) as viewer:
        for number, (side, command) in enumerate(runs, 1):
            progress(f"run {number} of {len(runs)}, {side}: {' '.join(command[1:])}")
            _run(command, _environment(os.environ, viewer.url, side), plan.timeout)
    recording = Recording([SIDE, *wanted])
    read_file(database, recording)
    found: dict[str, list[Stream]] = {}
    for stream in recording.streams():
        found.setdefault(stream.attributes.get(SIDE) or "", []).append(stream)
    return found


def _run(command: Sequence[str], environment: Mapping[str, str], timeout: float) -> None:
    try:
        done = subprocess.run(command, env=environment, timeout=timeout, check=False, stdin=subprocess.DEVNULL)  # noqa: S603  # the user's own command
    except OSError as error:
        message = f"{command[1]} cannot be run: {error.strerror}"
        raise ExperimentError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(command[1:])} did not end within {timeout:g} s; allow more with --timeout"
        raise ExperimentError(message) from error
    if done.returncode:
        message = f"{' '.join(command[1:])} ended with exit code {done.returncode}: a run that fails measures nothing"
        raise ExperimentError(message)


def _environment(inherited: Mapping[str, str], endpoint: str, side: str) -> dict[str, str]:
    """Return the environment of a run: the user's, but everything is recorded here, whole and unsampled."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(("OTEL_EXPORTER_", "OTEL_TRACES_"))}
    resource = [part for part in (inherited.get("OTEL_RESOURCE_ATTRIBUTES", ""), f"{SIDE}={side}") if part]
    return {
        **kept,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(resource),
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
    }
