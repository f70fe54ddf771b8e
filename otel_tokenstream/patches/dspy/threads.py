"""DSPy's worker threads: what held where the work was handed over holds in them too."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, detach, get_current

from otel_tokenstream.fields import streamed
from otel_tokenstream.patches.dspy import optimizers
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def patches() -> Iterator[Patch]:
    parallel = PublicEntry("dspy.Parallel")
    yield Patch("dspy.utils.parallelizer", "ParallelExecutor.execute", _execute, entries=(parallel,))


def _execute(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def execute(self: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # DSPy sets context variables of its own in these threads: the whole context cannot be handed over.
        parent, wish, quiet = get_current(), streamed.current(), optimizers.suppressed()

        @wraps(function)
        def as_here(item: Any) -> Any:
            token = attach(parent)
            try:
                with streamed.resumed(wish), optimizers.resumed(quiet=quiet):
                    return function(item)
            finally:
                detach(token)

        return original.__get__(self)(as_here, *args, **kwargs)

    return execute
