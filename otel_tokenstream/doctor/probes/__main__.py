"""Runs the probes of one library: ``python -m otel_tokenstream.doctor.probes LIBRARY BASE_URL``.

A line of JSON for each entry: the chunks that the program had, and the name, outcome and chunk count of each span.
The last line has the version and the entries that have no place left. No address but this machine's can be reached.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
import sys
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import signals
from otel_tokenstream.doctor.libraries import PREFIX, libraries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.doctor.probes import Probe
    from otel_tokenstream.patches.table import PatchTable

# One for all: litellm 1.60 keeps a client for each, and uses it after its loop was closed.
_loop = asyncio.new_event_loop()


def stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every connection to another machine; an audit hook."""
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = str(arguments[1][0])
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost"
    if not is_here:
        message = f"a probe must not reach {host}"
        raise ConnectionRefusedError(message)


async def drained(call: Callable[[], Any]) -> int | None:
    """Return how many chunks came; None where the answer was no stream."""
    result = call()
    is_async = inspect.isawaitable(result)
    if is_async:
        result = await result
    kind = type(result)
    if hasattr(kind, "__anext__") and (is_async or not hasattr(kind, "__next__")):
        return len([chunk async for chunk in result])
    return len(list(result)) if hasattr(kind, "__next__") else None


def probed(probe: Probe, exporter: InMemorySpanExporter) -> dict[str, Any]:
    exporter.clear()
    error, chunks = None, None
    try:
        chunks = _loop.run_until_complete(drained(probe.call))
    except Exception as problem:  # noqa: BLE001  # what the library lacks, or what it does with the call
        error = f"{type(problem).__name__}: {problem}"
    spans = [dict(span.attributes or {}, name=span.name) for span in exporter.get_finished_spans()]
    told = [[span["name"], span.get(signals.OUTCOME), span.get(signals.CHUNKS)] for span in spans]
    about = {name: value for name, value in probe._asdict().items() if name != "call"}
    return {**about, "chunks": chunks, "error": error, "spans": told}


def missing(table: PatchTable) -> list[str]:
    """Import what the library has not imported by itself, and return the entries without a place."""
    for module in table.modules():
        if not module.startswith("litellm.proxy."):  # a server, which takes a minute
            try:
                importlib.import_module(module)
            except Exception:  # noqa: BLE001, S112  # of other versions, or needs what is not installed
                continue
    return sorted(table.missing())


def main(library: str, base_url: str) -> None:
    sys.addaudithook(stay_on_this_machine)
    logging.disable(logging.WARNING)
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    # All of them: litellm's engine below DSPy is seen by litellm's instrumentor.
    entries = [each for each in entry_points(group="opentelemetry_instrumentor") if each.name.startswith(PREFIX)]
    known = [each for each in libraries(entries) if find_spec(each.module) is not None]
    made = {each.module: entry.load()() for each in known for entry in entries if entry.name == each.instrumentor}
    for each in made.values():
        each.instrument()
    for probe in _probes(library, base_url):
        print(json.dumps(probed(probe, exporter)), flush=True)  # noqa: T201
    importlib.import_module(library)
    table = made[library].table
    package = next(each.package for each in known if each.module == library)
    about = {"version": version(package), "missing": missing(table), "entries": len(table.seams())}
    print(json.dumps(about), flush=True)  # noqa: T201


def _probes(library: str, base_url: str) -> Iterator[Probe]:
    """Yield those of a library, none where it has only seams, and set what litellm answers by before each."""
    name = f"{__package__}.{library}"
    if find_spec(name) is None:
        return
    module = importlib.import_module(name)
    for probe in module.probes(base_url):
        if hasattr(module, "allow_native"):
            module.allow_native(probe.native)
        yield probe


if __name__ == "__main__":
    main(*sys.argv[1:])
