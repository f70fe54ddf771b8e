"""Modules: a span around each call, and the fields that ``stream_fields`` lists for it."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.guard import guarded
from otel_tokenstream.fields import streamed
from otel_tokenstream.patches.dspy import runs
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.telemetry import Telemetry

_PLACES = ("dspy.primitives.module", "dspy.primitives.program")  # the second before DSPy 3.0


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for place in _PLACES:
        yield Patch(place, "Module.__call__", lambda original: _call(telemetry, original), optional=True)
        yield Patch(place, "Module.acall", lambda original: _acall(telemetry, original), optional=True)


def _call(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        if runs.are_quiet():
            return original.__get__(self)(*args, **kwargs)
        with streamed.calling(self, lambda: _fields(self)), telemetry.step(type(self).__name__, _about(self)):
            return original.__get__(self)(*args, **kwargs)

    return __call__


def _acall(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        if runs.are_quiet():
            return await original.__get__(self)(*args, **kwargs)
        with streamed.calling(self, lambda: _fields(self)), telemetry.step(type(self).__name__, _about(self)):
            return await original.__get__(self)(*args, **kwargs)

    return acall


@guarded
def _about(module: Any) -> dict[str, Any]:
    about = {signals.DSPY_MODULE: type(module).__name__}
    signature = getattr(vars(module).get("signature"), "signature", None)
    if isinstance(signature, str):
        about[signals.DSPY_SIGNATURE] = signature
    return about


@guarded
def _fields(module: Any) -> frozenset[str]:
    """Output fields of the whole program: the module's, and those of the modules it is called by."""
    callers = sys.modules["dspy"].settings.get("caller_modules") or ()
    return frozenset(
        field
        for each in (*callers, module)
        for _, predictor in each.named_predictors()
        for field in predictor.signature.output_fields
    )
