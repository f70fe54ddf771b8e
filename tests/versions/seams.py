"""Takes the places of each public entry away in turn, and prints what is said and counted of it.

``python seams.py litellm`` or ``dspy``: the real library, from which the attributes are deleted before it is
instrumented. The first line is of the library as it is.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, signals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.patches.table import Patch

library = sys.argv[1]
instrumentor: Any = {"litellm": LiteLLMInstrumentor, "dspy": DSPyInstrumentor}[library]()
said: list[str] = []


class Heard(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        said.append(record.getMessage())


def taken_away(patches: list[Patch]) -> Iterator[tuple[Any, str, Any]]:
    for patch in patches:
        *path, name = patch.attribute.split(".")
        place: Any = sys.modules.get(patch.module)
        for part in path:
            place = getattr(place, part, None)
        if place is not None and name in vars(place):
            yield place, name, vars(place)[name]
            delattr(place, name)


def counted(reader: InMemoryMetricReader) -> list[str]:
    data = reader.get_metrics_data()
    found = [
        (metric.name, point)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    ]
    return sorted(
        str(point.attributes[signals.ENTRY])
        for name, point in found
        if name == signals.SEAMS_MISSING and point.attributes[signals.LIBRARY] == library and point.value
    )


def look(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Instrument, and take the library's other modules in as a program does that uses all of it."""
    said.clear()
    instrumentor.instrument()
    found = {entry.name: sorted({seam.state for seam in seams}) for entry, seams in instrumentor.table.seams().items()}
    told = {"said": list(said), "counted": counted(reader), "seams": found}
    instrumentor.uninstrument()
    return told


logging.getLogger("otel_tokenstream").addHandler(Heard())
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
importlib.import_module(library)
instrumentor.instrument()
patches = list(instrumentor.table._patches)
entries = list(dict.fromkeys(entry for patch in patches for entry in patch.seam_of))
instrumentor.uninstrument()
at_first = list(said)
for module in {patch.module for patch in patches if not patch.module.startswith("litellm.proxy.")}:  # takes a minute
    with suppress(Exception):  # of other versions, or needs what is not installed
        importlib.import_module(module)

whole = look(reader)
print(json.dumps({"taken": None, **whole, "said": at_first + whole["said"]}))
for entry in entries:
    gone = list(taken_away([patch for patch in patches if entry in patch.seam_of]))
    print(json.dumps({"taken": entry.name, "existed": bool(gone), "since": entry.since, **look(reader)}))
    for place, name, original in gone:
        setattr(place, name, original)
