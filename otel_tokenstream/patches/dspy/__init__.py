"""DSPy: spans for modules, tools and retrievers, the output fields of a program, and plain calls made as streams.

Model calls are seen where they are made: by ``lm15`` on DSPy's own engine, by
``patches/litellm`` on litellm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.patches.dspy import adapters, litellm_calls, lm15, modules, optimizers, retrievers, threads, tools
from otel_tokenstream.patches.table import PatchTable

if TYPE_CHECKING:
    from otel_tokenstream.core.emit.telemetry import Telemetry


def table(telemetry: Telemetry) -> PatchTable:
    patches = [
        *modules.patches(telemetry),
        *adapters.patches(),
        *tools.patches(telemetry),
        *retrievers.patches(telemetry),
        *threads.patches(),
        *lm15.patches(telemetry),
        *litellm_calls.patches(telemetry),
    ]
    if not telemetry.settings.dspy_optimizers:
        patches += optimizers.patches()
    return PatchTable(patches, "dspy")
