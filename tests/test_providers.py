from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from opentelemetry import _logs, metrics, trace
given = trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()
from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, flush
LiteLLMInstrumentor().instrument(skip_dep_check=True)
DSPyInstrumentor().instrument(skip_dep_check=True)
flush(1)
assert (trace.get_tracer_provider(), metrics.get_meter_provider(), _logs.get_logger_provider()) == given
from opentelemetry.sdk.trace import TracerProvider
mine = TracerProvider()
trace.set_tracer_provider(mine)
assert trace.get_tracer_provider() is mine
"""


def test_global_providers_are_the_programs_to_set() -> None:
    """Instrumenting sets none, so that a program may still set its own, which can be done once only."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
