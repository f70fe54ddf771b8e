"""Runs the probes of several libraries as doctor does, in one process, which imports each library once.

``python probes.py BASE_URL LIBRARY ...``
"""

from __future__ import annotations

import gc
import sys

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream.doctor.probes import __main__ as probes

gc.disable()  # what is imported stays, and is a lot to look at
base_url, *libraries = sys.argv[1:]
# The libraries are instrumented by the first of them, with the provider that it made.
exporter = InMemorySpanExporter()
probes.InMemorySpanExporter = lambda: exporter
for library in libraries:
    probes.main(library, base_url)
