"""Looks at the places that are patched in the real libraries, litellm and DSPy, and prints lines of JSON.

The first line is where litellm keeps its functions, and where it does so still once they are patched. Then the places
of each public entry are taken away in turn, before the library is instrumented: what is said and counted of it. The
first of these lines is of the library as it is.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, signals
from otel_tokenstream.patches.litellm import _FUNCTIONS
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.patches.table import Patch

said: list[str] = []


class Heard(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        said.append(record.getMessage())


def kept(functions: dict[int, Any]) -> list[str]:
    return [
        f"{module_name}.{name}"
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] == "litellm"
        for name, value in list(vars(module).items())
        if id(value) in functions
    ]


def print_places() -> None:
    functions = {}
    for made in {function.made for function in _FUNCTIONS}:
        with suppress(ImportError):  # of other versions
            module = importlib.import_module(made)
            found = [vars(module).get(function.name) for function in _FUNCTIONS if function.made == made]
            functions |= {id(function): function for function in found if function is not None}
    for name in ("google_genai", "passthrough", "anthropic_interface"):
        with suppress(ImportError):
            importlib.import_module(f"litellm.{name}")
    before = kept(functions)
    with capture():
        print(json.dumps({"before": before, "after": kept(functions)}), flush=True)


def taken_away(patches: list[Patch]) -> Iterator[tuple[Any, str, Any]]:
    for patch in patches:
        *path, name = patch.attribute.split(".")
        place: Any = sys.modules.get(patch.module)
        for part in path:
            place = getattr(place, part, None)
        if place is not None and name in vars(place):
            yield place, name, vars(place)[name]
            delattr(place, name)


def counted(library: str) -> list[str]:
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


def look(library: str, instrumentor: Any) -> dict[str, Any]:
    """Instrument, and take the library's other modules in as a program does that uses all of it."""
    said.clear()
    instrumentor.instrument()
    found = {entry.name: sorted({seam.state for seam in seams}) for entry, seams in instrumentor.table.seams().items()}
    told = {"said": list(said), "counted": counted(library), "seams": found}
    instrumentor.uninstrument()
    return told


def print_seams(library: str, instrumentor: Any) -> None:
    said.clear()
    importlib.import_module(library)
    instrumentor.instrument()
    patches = list(instrumentor.table._patches)
    entries = list(dict.fromkeys(entry for patch in patches for entry in patch.seam_of))
    instrumentor.uninstrument()
    at_first = list(said)
    for module in {
        patch.module for patch in patches if not patch.module.startswith("litellm.proxy.")
    }:  # takes a minute
        with suppress(Exception):  # of other versions, or needs what is not installed
            importlib.import_module(module)

    whole = look(library, instrumentor)
    print(json.dumps({"library": library, "taken": None, **whole, "said": at_first + whole["said"]}))
    for entry in entries:
        gone = list(taken_away([patch for patch in patches if entry in patch.seam_of]))
        about = {"library": library, "taken": entry.name, "existed": bool(gone), "since": entry.since}
        print(json.dumps({**about, **look(library, instrumentor)}))
        for place, name, original in gone:
            setattr(place, name, original)


gc.disable()  # what is imported stays, and is a lot to look at
importlib.import_module("litellm")
if not os.fork():  # so that what follows finds only what litellm itself has loaded
    print_places()
    os._exit(0)
assert os.wait()[1] == 0

logging.getLogger("otel_tokenstream").addHandler(Heard())
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
print_seams("litellm", LiteLLMInstrumentor())
print_seams("dspy", DSPyInstrumentor())
