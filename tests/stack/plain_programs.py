"""Starts programs that know nothing of telemetry, under opentelemetry-instrument and with its defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.zero_code import COMMAND, OTHERS

PROGRAM = Path(__file__).parent / "plain_program.py"


def start(directory, endpoint, service, *behaviours, **variables):
    """Start plain_program.py as a service; metrics come every 60 s, unless ``variables`` say otherwise."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environment = {
        **inherited,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": OTHERS,
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
        "OTEL_TOKENSTREAM_EVENTS": "both",
        **variables,
    }
    with (directory / f"program-{service}.log").open("wb") as log:
        return subprocess.Popen(
            [COMMAND, sys.executable, str(PROGRAM), *behaviours], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
