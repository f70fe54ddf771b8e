"""Other instrumentations of the same library: a warning where they make a second span of each call certain.

The official OpenAI and DSPy instrumentations need none: they and we tell each other by a key
in the context whose the span of a call is (``core/call/nesting.py``).
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING

from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Iterable

_logger = logging.getLogger(__name__)

_DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

# Modules whose LiteLLMInstrumentor or DSPyInstrumentor gives each model call a span of its own
# and knows no such key.
_MAKE_SPANS = {
    "litellm": ("openinference.instrumentation.litellm", "opentelemetry.instrumentation.litellm"),
    "dspy": ("openinference.instrumentation.dspy",),
    "openai": ("openinference.instrumentation.openai", "opentelemetry.instrumentation.openai"),
    "anthropic": ("openinference.instrumentation.anthropic", "opentelemetry.instrumentation.anthropic"),
    "lionagi": (),
    "lionpride": (),
    "langchain_core": ("openinference.instrumentation.langchain", "opentelemetry.instrumentation.langchain"),
}


@guarded
def warn_of_duplicates(library: str, *, zero_code: bool) -> None:
    """Name the variable that switches a second instrumentation of ``library`` off, if one is on.

    With ``zero_code`` all that are installed will be, in whatever order; else only those that
    already are can be known.
    """
    names = _installed(library) if zero_code else _active(library)
    for name, module in names.items():
        _logger.warning(
            "%s is instrumented by %s as well: each model call will have two spans. Set %s=%s (or do not "
            "instrument it in code) to keep only otel-tokenstream's.",
            library,
            module,
            _DISABLED,
            name,
        )


def span_makers(libraries: Iterable[str]) -> tuple[str, ...]:
    """Return the modules of the instrumentations that give the calls of these libraries a second span."""
    return tuple(module for library in libraries for module in _MAKE_SPANS.get(library, ()))


def _active(library: str) -> dict[str, str]:
    found = {}
    for module in _MAKE_SPANS[library]:
        for thing in vars(sys.modules.get(module, object)).values():
            if getattr(thing, "_is_instrumented_by_opentelemetry", False) is True or getattr(
                getattr(thing, "_instance", None), "_is_instrumented_by_opentelemetry", False
            ):
                found[library] = module
    return found


def _installed(library: str) -> dict[str, str]:
    disabled = {name.strip() for name in os.environ.get(_DISABLED, "").split(",")}
    modules = [module for module in _MAKE_SPANS[library] if _may_be_there(module)]
    return {
        entry.name: module
        for entry in (_instrumentors() if modules else ())
        for module in modules
        if entry.value.startswith(f"{module}:") and entry.name not in disabled
    }


def _may_be_there(module: str) -> bool:
    """Look no deeper than can be done without an import."""
    top, _, _ = module.partition(".")
    return find_spec(module if module.startswith("opentelemetry.instrumentation.") else top) is not None


@cache
def _instrumentors() -> EntryPoints:
    # Reads a file of every installed distribution: once a process is enough.
    return entry_points(group="opentelemetry_instrumentor")
