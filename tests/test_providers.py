from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import dspy  # noqa: F401  # what is not imported is not patched
import litellm  # noqa: F401
import pytest
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.core.runtime import guard

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
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr


class RefusingTracers(NoOpTracerProvider):
    def get_tracer(self, *_: Any, **__: Any) -> Any:
        raise LookupError


class RefusingMeters(NoOpMeterProvider):
    def get_meter(self, *_: Any, **__: Any) -> Any:
        raise LookupError


class RefusingLoggers(NoOpLoggerProvider):
    def get_logger(self, *_: Any, **__: Any) -> Any:
        raise LookupError


REFUSING = {
    "tracer_provider": RefusingTracers(),
    "meter_provider": RefusingMeters(),
    "logger_provider": RefusingLoggers(),
}


@pytest.mark.parametrize("which", REFUSING)
def test_a_provider_that_refuses_stops_instrument(which: str) -> None:
    """Its error is raised where it may be, nothing is patched, and the next try is a new one."""
    instrumentor = LiteLLMInstrumentor()
    with pytest.raises(LookupError):
        instrumentor.instrument(**{which: REFUSING[which]})

    assert not instrumentor.is_instrumented_by_opentelemetry
    instrumentor.instrument()
    instrumentor.uninstrument()


@pytest.mark.parametrize("which", REFUSING)
def test_a_provider_that_refuses_is_logged_under_zero_code(which: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error there would keep the instrumentations after it from starting."""
    guard._seen.clear()
    instrumentor = LiteLLMInstrumentor()
    instrumentor.instrument(**{which: REFUSING[which]}, skip_dep_check=True)
    instrumentor.uninstrument()

    assert [record.getMessage() for record in caplog.records if "asking the providers" in record.getMessage()]


def test_instrumenting_again_and_again_keeps_nothing() -> None:
    """Each time with other settings, as a test suite or a notebook does."""

    def kept() -> int:
        gc.collect()
        return sum(isinstance(each, Telemetry) for each in gc.get_objects())

    before = kept()
    for budget in range(1, 20):
        for make in (LiteLLMInstrumentor, DSPyInstrumentor):
            make().instrument(event_budget=budget)
            make().uninstrument()

    assert kept() <= before + 2
