"""Evaluate and optimizers, which call programs by the thousand: quiet unless asked for.

Inside a run there are no spans of modules, tools and retrievers, and no call is made a stream.
Model calls keep their spans and metrics.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_tokenstream.core.runtime.context import set_contextvar
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.fields import streamed
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from otel_tokenstream.core.emit.telemetry import Telemetry

_OPTIMIZERS = (
    ("avatar_optimizer", "AvatarOptimizer"),
    ("bettertogether", "BetterTogether"),
    ("bootstrap", "BootstrapFewShot"),
    ("bootstrap_finetune", "BootstrapFinetune"),
    ("copro_optimizer", "COPRO"),
    ("gepa.gepa", "GEPA"),
    ("grpo", "GRPO"),
    ("infer_rules", "InferRules"),
    ("knn_fewshot", "KNNFewShot"),
    ("mipro_optimizer_v2", "MIPROv2"),
    ("random_search", "BootstrapFewShotWithRandomSearch"),
    ("reanchor.reanchor", "ReAnchor"),
    ("signature_opt", "SignatureOptimizer"),
    ("simba", "SIMBA"),
    ("teleprompt_optuna", "BootstrapFewShotWithOptuna"),
)

_quiet: ContextVar[bool] = ContextVar("otel_tokenstream_quiet", default=False)

suppressed = _quiet.get


def patches() -> Iterator[Patch]:
    yield Patch("dspy.evaluate.evaluate", "Evaluate.__call__", _run, entries=(PublicEntry("dspy.Evaluate"),))
    for module, optimizer in _OPTIMIZERS:
        yield Patch(f"dspy.teleprompt.{module}", f"{optimizer}.compile", _run, optional=True)


@guarded
def fields_to_stream(telemetry: Telemetry) -> frozenset[str] | None:
    """Return the output fields whose tokens a plain call is to stream; None where the call is to be made as it is."""
    if suppressed() or not telemetry.enabled or not is_instrumentation_enabled():
        return None
    return streamed.wanted(telemetry.settings.dspy_stream)


def resumed(*, quiet: bool) -> AbstractContextManager[object]:
    return set_contextvar(_quiet, quiet)


def _run(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        with resumed(quiet=True):
            return original.__get__(self)(*args, **kwargs)

    @wraps(original)
    async def arun(self: Any, *args: Any, **kwargs: Any) -> Any:
        with resumed(quiet=True):
            return await original.__get__(self)(*args, **kwargs)

    return arun if iscoroutinefunction(original) else run
