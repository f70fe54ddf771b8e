"""What programs under test sent: a receiver in a process of its own, and the environment that leads to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tokenstream import LiteLLMInstrumentor, signals
from tests import zero_code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

_OTHERS = sorted(
    entry.name
    for entry in entry_points(group="opentelemetry_instrumentor")
    if not entry.value.startswith("otel_tokenstream.")
)
_ROOT = Path(__file__).parents[2]
_PROGRAM = _ROOT / "benchmarks" / "counting_receiver.py"


class Receiver:
    """Runs from ``with`` to its end."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, str(_PROGRAM)], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def _told(self, path: str) -> list[dict[str, Any]]:
        with urlopen(f"{self.address}/{path}", timeout=60) as answer:
            told: list[dict[str, Any]] = json.load(answer)
            return told

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Spans of model calls."""
        return [span for span in self._told("spans") if signals.OUTCOME in span["attributes"]]

    @property
    def outcomes(self) -> list[str]:
        return sorted(span["attributes"][signals.OUTCOME] for span in self.spans)

    @property
    def logs(self) -> list[dict[str, Any]]:
        return self._told("logs")

    def points(self, name: str) -> list[dict[str, Any]]:
        return [point for point in self._told("metrics") if point["name"] == name]

    def streams(self) -> dict[str, int]:
        """Streams counted by outcome, over all processes."""
        counted: dict[str, int] = {}
        for point in self.points(signals.STREAMS):
            outcome = point["attributes"][signals.OUTCOME]
            if point["value"]:
                counted[outcome] = counted.get(outcome, 0) + point["value"]
        return counted

    def count(self, name: str) -> int:
        """Records of a histogram, over all processes."""
        return sum(point["count"] for point in self.points(name))


def environment(endpoint: str, **variables: str) -> dict[str, str]:
    """The variables of a program that exports to ``endpoint``, without the caller's own OTEL_ ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    exporters = {f"OTEL_{signal}_EXPORTER": "otlp" for signal in ("TRACES", "METRICS", "LOGS")}
    return {
        **inherited,
        **exporters,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ",".join(_OTHERS),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        # Long enough that nothing is sent before the end, unless a test says otherwise.
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
        "OTEL_METRIC_EXPORT_INTERVAL": "600000",
        "PYTHONPATH": str(_ROOT),
        **variables,
    }


@contextmanager
def exporting(endpoint: str, seconds: int = 10) -> Iterator[None]:
    """Instrument litellm in this process and export to ``endpoint``, each request within so many seconds."""
    to = {signal: f"{endpoint}/v1/{signal}" for signal in ("traces", "metrics", "logs")}
    tracing, logging = TracerProvider(), LoggerProvider()
    tracing.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(to["traces"], timeout=seconds)))
    logging.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(to["logs"], timeout=seconds)))
    metrics = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter(to["metrics"], timeout=seconds), export_interval_millis=6e5)]
    )
    instrumentor = LiteLLMInstrumentor()
    instrumentor.instrument(
        tracer_provider=tracing, meter_provider=metrics, logger_provider=logging, events="both", skip_dep_check=True
    )
    try:
        yield
    finally:
        instrumentor.uninstrument()
        for provider in (tracing, metrics, logging):
            provider.shutdown()


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python code under opentelemetry-instrument; ``variables`` are all of its environment."""
    command = [zero_code.COMMAND, sys.executable, "-c", program]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=180)
