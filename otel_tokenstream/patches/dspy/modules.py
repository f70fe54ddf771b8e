"""Modules: a span around each call, and the fields that ``stream_fields`` lists for it."""

from __future__ import annotations

import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.emit.agents import INVOKE_AGENT, INVOKE_WORKFLOW
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.fields import streamed
from otel_tokenstream.patches.dspy import optimizers
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.emit.internal_span import Step
    from otel_tokenstream.core.emit.telemetry import Telemetry

# Modules that let the model choose the next tool.
_AGENTS = ("ReAct", "CodeAct", "Avatar", "RLM")
_MODULE, _ACALL = PublicEntry("dspy.Module"), PublicEntry("dspy.Module.acall")
_PLACES = ("dspy.primitives.module", "dspy.primitives.program")  # the second before DSPy 3.0


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for place in _PLACES:
        yield Patch(place, "Module.__call__", partial(_call, telemetry), optional=True, entries=(_MODULE,))
        yield Patch(place, "Module.acall", partial(_acall, telemetry), optional=True, entries=(_ACALL,))


def _call(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it replaces one
        if optimizers.suppressed():
            return original.__get__(self)(*args, **kwargs)
        with streamed.calling(self, lambda: _fields(self)), _step(telemetry, self):
            return original.__get__(self)(*args, **kwargs)

    return __call__


def _acall(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        if optimizers.suppressed():
            return await original.__get__(self)(*args, **kwargs)
        with streamed.calling(self, lambda: _fields(self)), _step(telemetry, self):
            return await original.__get__(self)(*args, **kwargs)

    return acall


def _step(telemetry: Telemetry, module: Any) -> Step:
    name, about = type(module).__name__, _about(module) or {}
    operation = guarded(_operation)(module) if telemetry.settings.new_names else None
    return telemetry.step(name, about) if operation is None else telemetry.agent(operation, name, about)


def _operation(module: Any) -> str | None:
    """Return the convention's operation for a module that is one: an agent, or a whole program of the user's."""
    dspy = sys.modules["dspy"]
    agents = tuple(found for name in _AGENTS if isinstance(found := getattr(dspy, name, None), type))
    if isinstance(module, agents):
        return INVOKE_AGENT
    is_own = not type(module).__module__.startswith("dspy.")
    return INVOKE_WORKFLOW if is_own and not dspy.settings.get("caller_modules") else None


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
