"""Starts a process under ``opentelemetry-instrument`` and takes what it says of itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otel_tokenstream.doctor.secrets import hidden

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARK = "otel-tokenstream doctor: "
"""Begins the line that the process writes; anything else on its output is somebody else's."""
INSTRUMENT = (sys.executable, "-c", "from opentelemetry.instrumentation.auto_instrumentation import run; run()")
_LONGEST = 180.0  # seconds; some instrumentations import their library at once
_REQUEST = "5"  # seconds that an exporter may try
_NO_COMPONENT = "Requested component"
_AUTO = 'pip install "otel-tokenstream[auto,otlp]"'


@dataclass(frozen=True)
class Start:
    """``exporters`` are class names by signal; ``receivers`` and ``sent`` are as ``started`` writes them.

    ``problem`` is why there is no SDK, with its ``fix``; empty where there is one.
    """

    problem: str = ""
    fix: str = ""
    said: str = ""
    instrumented: Sequence[str] = ()
    sampler: str = ""
    sampled: float | None = None
    exporters: Mapping[str, list[str]] = field(default_factory=dict)
    receivers: Sequence[Mapping[str, Any]] = ()
    sent: Sequence[Mapping[str, Any]] = ()


def start(environ: Mapping[str, str]) -> Start:
    """Start it and wait for it, for three minutes at most."""
    command = [*INSTRUMENT, sys.executable, "-m", "otel_tokenstream.doctor.started"]
    try:
        done = subprocess.run(  # noqa: S603  # our own command
            command,
            env=_environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Start(f"it did not end within {_LONGEST:g} s", "opentelemetry-instrument python -c pass")
    said = hidden(_said(done.stderr), environ)
    line = next((each for each in done.stdout.splitlines() if each.startswith(MARK)), None)
    if line is None:
        return Start(said or f"exit code {done.returncode}", "opentelemetry-instrument python -c pass", said)
    told = json.loads(line.removeprefix(MARK))
    if not told.pop("has_sdk"):
        return Start(said or "it said nothing", _fix(said), said)
    return Start(said=said, **told)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the program's environment, in which no exporter tries for long."""
    timeouts = [name for name in environ if name.startswith("OTEL_EXPORTER_OTLP_") and name.endswith("_TIMEOUT")]
    return {
        **environ,
        **dict.fromkeys([*timeouts, "OTEL_EXPORTER_OTLP_TIMEOUT"], _REQUEST),
        "PYTHONIOENCODING": "utf-8",
    }


def _said(errors: str) -> str:
    """Return the last line that tells an exception, else the last line of all."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    raised = [line for line in lines if line.partition(":")[0].rpartition(".")[2].endswith(("Error", "Exception"))]
    return (raised or lines or [""])[-1]


def _fix(said: str) -> str:
    if _NO_COMPONENT in said and "exporter" in said:
        return _AUTO
    if "OTLP protocol" in said:
        return "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
    return f"opentelemetry-instrument {os.path.basename(sys.executable)} -c pass"  # noqa: PTH119  # shows all of it
