"""DSPy: spans for modules, the output fields of a program, and context into its worker threads.

Model calls are seen where they are made: by ``patches/lm15.py`` on DSPy's own engine, by
``patches/litellm`` on litellm.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach, get_current

from otel_tokenstream import signals
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.fields.expected import expecting
from otel_tokenstream.patches import lm15
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.fields import Kind


def table(telemetry: Telemetry) -> PatchTable:
    patches = [
        Patch("dspy.primitives.module", "Module.__call__", lambda original: _module(telemetry, original)),
        Patch("dspy.primitives.module", "Module.acall", lambda original: _amodule(telemetry, original)),
        Patch("dspy.utils.parallelizer", "ParallelExecutor.execute", _execute),
        *lm15.patches(telemetry),
    ]
    if telemetry.settings.fields:
        patches += [
            Patch("dspy.adapters.base", "Adapter.__call__", _adapter),
            Patch("dspy.adapters.base", "Adapter.acall", _aadapter),
        ]
    return PatchTable(patches)


def _module(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        with telemetry.step(type(self).__name__, _about(self)):
            return original.__get__(self)(*args, **kwargs)

    return __call__


def _amodule(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        with telemetry.step(type(self).__name__, _about(self)):
            return await original.__get__(self)(*args, **kwargs)

    return acall


@guarded
def _about(module: Any) -> dict[str, Any]:
    about = {signals.DSPY_MODULE: type(module).__name__}
    signature = getattr(vars(module).get("signature"), "signature", None)
    if isinstance(signature, str):
        about[signals.DSPY_SIGNATURE] = signature
    return about


def _adapter(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        with expecting(*_format(self, args, kwargs)):
            return original.__get__(self)(*args, **kwargs)

    return __call__


def _aadapter(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        with expecting(*_format(self, args, kwargs)):
            return await original.__get__(self)(*args, **kwargs)

    return acall


def _format(adapter: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Kind | None, tuple[str, ...]]:
    """The adapter's format and the program's output fields; no fields for a format that has none."""
    signature = kwargs.get("signature", args[2] if len(args) > 2 else None)
    return _kind(adapter), _output_fields(signature) or ()


@guarded
def _output_fields(signature: Any) -> tuple[str, ...]:
    return tuple(signature.output_fields)


@guarded
def _kind(adapter: Any) -> Kind | None:
    adapters = sys.modules["dspy.adapters"]
    # Subclasses first: the JSON and XML adapters are chat adapters too. DSPy 2.6 has no XML adapter.
    if isinstance(adapter, adapters.JSONAdapter):
        return "json"
    if isinstance(adapter, getattr(adapters, "XMLAdapter", ())):
        return "xml-tags" if hasattr(adapter, "field_pattern") else "xml"
    return "chat" if isinstance(adapter, adapters.ChatAdapter) else None


def _execute(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def execute(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        parent = get_current()

        @wraps(function)
        def under_parent(item: Any) -> Any:
            token = attach(parent)
            try:
                return function(item)
            finally:
                detach(token)

        return original.__get__(self)(under_parent, *args, **kwargs)

    return execute
