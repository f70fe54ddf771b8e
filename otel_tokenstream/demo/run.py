"""The demo: provider, viewer and two instrumented programs, each a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from otel_tokenstream.demo import backend
from otel_tokenstream.demo.children import HOST, ChildError, Children, free_port
from otel_tokenstream.demo.expectations import missing
from otel_tokenstream.demo.measured import Viewer, table

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
SECONDS_PER_PROGRAM = 600
STANDARD_HTTP_PORT, STANDARD_GRPC_PORT = 4318, 4317


@dataclass(frozen=True)
class Program:
    """An application to run. Each sends its telemetry by another protocol, so that both are seen to work."""

    service: str
    module: str
    protocol: str


PROGRAMS = (
    Program("demo-litellm", "otel_tokenstream.demo.litellm_app", "http/protobuf"),
    Program("demo-dspy", "otel_tokenstream.demo.dspy_app", "grpc"),
)


def run(
    model: str = "scripted", *, base_url: str | None = None, api_key_env: str | None = None, check: bool = False
) -> int:
    """Returns the exit code; with ``check`` it is 0 only if all expected telemetry arrived."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="otel-tokenstream-demo-") as directory:
            return _run(console, Path(directory), model, base_url, api_key_env, check)
    except KeyboardInterrupt:
        return 130 if check else 0
    except (backend.BackendError, ChildError) as error:
        console.print(f"otel-tokenstream demo: {error}", style="red", markup=False)
        return 1


def _run(
    console: Console, directory: Path, model: str, base_url: str | None, api_key_env: str | None, check: bool
) -> int:
    with Children(directory) as children:
        asked = backend.start(children, model, base_url, api_key_env)
        console.print(f"provider: {asked.description}", markup=False)
        viewer, grpc_port, process = _start_viewer(children, console, directory / "streams.db")
        console.print(f"viewer:   {viewer.url}  (OTLP/gRPC on port {grpc_port})", markup=False)
        failures = [
            failure
            for program in PROGRAMS
            if (failure := _run_program(children, program, asked, viewer.url, grpc_port)) is not None
        ]
        streams = viewer.settled()
        console.print("\n", table(streams))
        for failure in failures:
            console.print(failure, style="red", markup=False)
        if check:
            lacking = [*failures, *missing(viewer, streams, scripted=asked.scripted)]
            for line in lacking:
                console.print(f"missing: {line}", style="red", markup=False)
            console.print("" if lacking else "All expected telemetry arrived.")
            return 1 if lacking else 0
        console.print(f"\nLook at every token: {viewer.url}   (Ctrl-C ends the demo)", style="bold")
        process.wait()
        return 1


def _start_viewer(children: Children, console: Console, database: Path) -> tuple[Viewer, int, subprocess.Popen[bytes]]:
    http_port, grpc_port = free_port(STANDARD_HTTP_PORT), free_port(STANDARD_GRPC_PORT)
    if (http_port, grpc_port) != (STANDARD_HTTP_PORT, STANDARD_GRPC_PORT):
        console.print(
            f"The standard OTLP ports {STANDARD_HTTP_PORT} and {STANDARD_GRPC_PORT} are not both free; "
            f"the viewer takes {http_port} and {grpc_port}."
        )
    command = [sys.executable, "-m", "otel_tokenstream.cli", "view"]
    command += ["--http-port", str(http_port), "--grpc-port", str(grpc_port), "--database", str(database)]
    process = children.start("viewer", command, dict(os.environ))
    viewer = Viewer(f"http://{HOST}:{http_port}")
    children.ready("viewer", process, f"{viewer.url}/api/metrics", within=30)
    return viewer, grpc_port, process


def _run_program(
    children: Children, program: Program, asked: backend.Backend, viewer_url: str, grpc_port: int
) -> str | None:
    """Returns what went wrong, if anything."""
    instrument = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    if instrument is None:
        msg = 'opentelemetry-instrument is not installed beside this Python: pip install "otel-tokenstream[demo]"'
        raise ChildError(msg)
    endpoint = viewer_url if program.protocol == "http/protobuf" else f"http://{HOST}:{grpc_port}"
    command = [instrument, sys.executable, "-m", program.module]
    process = children.start(program.service, command, _environment(program, asked, endpoint), shown=True)
    try:
        code = process.wait(SECONDS_PER_PROGRAM)
    except subprocess.TimeoutExpired:
        return f"{program.service} did not end within {SECONDS_PER_PROGRAM} s"
    return None if code == 0 else f"{program.service} ended with exit code {code}"


def _environment(program: Program, asked: backend.Backend, endpoint: str) -> dict[str, str]:
    # An endpoint or a sampler set for the user's own programs must not reach these.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("OTEL_") or name.startswith("OTEL_TOKENSTREAM_") or name == CONTENT
    }
    return {
        CONTENT: "SPAN_AND_EVENT" if "DEMO_BASE_URL" in asked.environment else "NO_CONTENT",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # its price table would come from the internet
        **inherited,
        **asked.environment,
        "NO_PROXY": f"{os.environ.get('NO_PROXY', '')},{HOST}",
        "PYTHONUNBUFFERED": "1",
        # Others that may be installed here would give each call a second span.
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "dspy,litellm,openai",
        "OTEL_SERVICE_NAME": program.service,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": program.protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "OTEL_BLRP_SCHEDULE_DELAY": "500",
        "OTEL_TOKENSTREAM_EVENTS": "both",
    }
