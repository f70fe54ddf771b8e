"""``with_fallbacks`` and ``with_retry`` around a model: one call, however many requests it takes.

Around anything that asks several models they are a program's own affair, and each model call is one by itself.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.langchain.invocations import beginning, finished, handed_over, streams_itself
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from otel_tokenstream.core.call.layered import Begun
    from otel_tokenstream.core.emit.telemetry import Telemetry

_FALLBACKS, _RETRY = "langchain_core.runnables.fallbacks", "langchain_core.runnables.retry"
# Attributes by which a runnable leads to the one it stands around.
_INNER = ("bound", "default")


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for module, name, methods in (
        (_FALLBACKS, "RunnableWithFallbacks", ("invoke", "ainvoke", "stream", "astream")),
        (_RETRY, "RunnableRetry", ("invoke", "ainvoke")),
    ):
        for method in methods:
            entry = PublicEntry(f"{name}.{method}")
            wrap = partial(_METHODS[method], telemetry)
            yield Patch(module, f"{name}.{method}", wrap, optional=True, entries=(entry,))


def _invoke(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def invoke(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:  # LangChain's name
        with _beginning(telemetry, self, input, config, kwargs) as begun:
            if begun is None:
                return original(self, input, config, **kwargs)
            with begun:
                result = original(self, input, config, **kwargs)
            finished(begun.call)
            return result

    return invoke


def _ainvoke(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def ainvoke(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:
        with _beginning(telemetry, self, input, config, kwargs) as begun:
            if begun is None:
                return await original(self, input, config, **kwargs)
            with begun:
                result = await original(self, input, config, **kwargs)
            finished(begun.call)
            return result

    return ainvoke


def _stream(telemetry: Telemetry, original: Callable[..., Any], *, sync: bool) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:
        made = original(self, input, config, **kwargs)
        with _beginning(telemetry, self, input, config, kwargs, sync=sync) as begun:
            return made if begun is None else handed_over(begun, made)

    return stream


_METHODS: dict[str, Callable[[Telemetry, Any], Any]] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    "stream": partial(_stream, sync=True),
    "astream": partial(_stream, sync=False),
}


def _beginning(
    telemetry: Telemetry, group: Any, given: Any, config: Any, options: Mapping[str, Any], *, sync: bool | None = None
) -> AbstractContextManager[Begun | None]:
    models = guarded(_models)(group)
    if not models:
        return nullcontext()
    known = {**(guarded(_options)(group) or {}), **options}
    stream = sync is not None and guarded(streams_itself)(models[0], known, sync=sync) is not False
    is_model = partial(_is_model, sys.modules["langchain_core.language_models"].BaseLanguageModel)
    return beginning(telemetry, models[0], given, known, stream=stream, parent=config, asks=is_model)


def _is_model(base: type, other: object) -> bool:
    return isinstance(other, base)


def _models(group: Any) -> list[Any] | None:
    """Return the models of which a group asks one after the other; None where it does more."""
    candidates = getattr(group, "runnables", None)
    candidates = list(candidates) if candidates is not None else [group.bound]
    found: list[Any] = []
    for each in candidates:
        inner = _model(each)
        if not inner:
            return None
        found += inner
    return found


def _model(runnable: Any) -> list[Any] | None:
    """Return the one model that a runnable asks, or those of the group that it is."""
    language_models, base = sys.modules["langchain_core.language_models"], sys.modules["langchain_core.runnables.base"]
    while not isinstance(runnable, language_models.BaseLanguageModel):
        if hasattr(type(runnable), "runnables"):
            return _models(runnable)
        inner = next((found for name in _INNER if (found := getattr(runnable, name, None)) is not None), None)
        if inner is None:
            if not isinstance(runnable, base.RunnableSequence):
                return None
            models = [each for each in runnable.steps if _model(each)]
            if len(models) != 1:
                return None
            inner = models[0]  # with a prompt before it, or a parser after it
        runnable = inner
    return [runnable]


def _options(runnable: Any) -> dict[str, Any]:
    """Return what is bound to the first model: tools, stop words."""
    found: dict[str, Any] = {}
    while runnable is not None and not hasattr(runnable, "_llm_type"):
        found = {**(getattr(runnable, "kwargs", None) or {}), **found}
        runnable = next(
            (inner for name in ("runnable", *_INNER) if (inner := getattr(runnable, name, None)) is not None), None
        )
    return found
