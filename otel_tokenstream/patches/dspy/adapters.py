"""Adapters: the format and the output fields that the answer to the call in progress will have."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.fields.expected import expecting
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.fields import Kind


def patches() -> Iterator[Patch]:
    yield Patch("dspy.adapters.base", "Adapter.__call__", _call, entries=(PublicEntry("dspy.Adapter"),))
    yield Patch("dspy.adapters.base", "Adapter.acall", _acall, entries=(PublicEntry("dspy.Adapter.acall"),))


def _call(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        with expecting(*_format(self, args, kwargs)):
            return original.__get__(self)(*args, **kwargs)

    return __call__


def _acall(original: Callable[..., Any]) -> Callable[..., Any]:
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
