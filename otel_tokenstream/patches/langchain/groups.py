"""``with_fallbacks`` and ``with_retry`` around a model: one call, however many requests it takes.

Around anything that asks several models, or may do so, they are a program's own affair, and each model call is one by
itself.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.langchain.first_read import begun_at_first_read
from otel_tokenstream.patches.langchain.invocations import beginning, finished, keeps_answers, streams_itself
from otel_tokenstream.patches.langchain.plain_steps import asks_nothing, packages_of
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_tokenstream.core.call.layered import Begun
    from otel_tokenstream.core.emit.telemetry import Telemetry

_FALLBACKS, _RETRY = "langchain_core.runnables.fallbacks", "langchain_core.runnables.retry"


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
        with _beginning(telemetry, self, input, config, kwargs) or nullcontext() as begun:
            if begun is None:
                return original(self, input, config, **kwargs)
            with begun:
                result = original(self, input, config, **kwargs)
            _answered(begun, self)
            return result

    return invoke


def _ainvoke(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def ainvoke(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:
        with _beginning(telemetry, self, input, config, kwargs) or nullcontext() as begun:
            if begun is None:
                return await original(self, input, config, **kwargs)
            with begun:
                result = await original(self, input, config, **kwargs)
            _answered(begun, self)
            return result

    return ainvoke


def _stream(telemetry: Telemetry, original: Callable[..., Any], *, sync: bool) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, input: Any, config: Any = None, **kwargs: Any) -> Any:
        made = original(self, input, config, **kwargs)
        begin = _beginning(telemetry, self, input, config, kwargs, sync=sync)
        return made if begin is None else begun_at_first_read(made, begin)

    return stream


_METHODS: dict[str, Callable[[Telemetry, Any], Any]] = {
    "invoke": _invoke,
    "ainvoke": _ainvoke,
    "stream": partial(_stream, sync=True),
    "astream": partial(_stream, sync=False),
}


def _beginning(
    telemetry: Telemetry, group: Any, given: Any, config: Any, options: Mapping[str, Any], *, sync: bool | None = None
) -> beginning | None:
    models = guarded(_models)(group)
    if not models:
        return None
    known = {**(guarded(_options)(group) or {}), **options}
    stream = sync is not None and guarded(streams_itself)(models[0], known, sync=sync) is not False
    asks = partial(_is_one_of, models)
    return beginning(telemetry, models[0], _readable(given), known, stream=stream, parent=config, asks=asks)


def _readable(given: Any) -> Any:
    """Return a group's input where it is one of a model, and no messages where a prompt makes some of it."""
    return given if isinstance(given, (str, list, tuple)) or hasattr(given, "to_messages") else []


def _is_one_of(models: Sequence[object], other: object) -> bool:
    return any(other is each for each in models)


def _answered(begun: Begun, group: Any) -> None:
    if not begun.is_asked:
        begun.call.cache_hit = guarded(_keeps_answers)(group) is True
    finished(begun.call)


def _keeps_answers(group: Any) -> bool:
    return any(keeps_answers(model) for model in _models(group) or ())


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
    """Return the one model that a runnable asks, or those of the group that it is.

    Return None where it may ask others, or a copy of its model: what asks for each input, chooses, or is configured.
    """
    base = sys.modules["langchain_core.runnables.base"]
    bindings: Any = (base.RunnableBinding, getattr(sys.modules.get(_RETRY), "RunnableRetry", ()))
    if isinstance(runnable, sys.modules["langchain_core.language_models"].BaseLanguageModel):
        return [runnable]
    if hasattr(type(runnable), "runnables"):
        return _models(runnable)
    if isinstance(runnable, bindings):
        return _model(runnable.bound)
    return _model_of_sequence(runnable.steps) if isinstance(runnable, base.RunnableSequence) else None


def _model_of_sequence(steps: Sequence[Any]) -> list[Any] | None:
    """Return the models of the one step that asks any, with a prompt before it, or a parser after it."""
    asking = [(step, models) for step in steps if (models := _model(step))]
    if len(asking) != 1:
        return None
    ((asked, models),) = asking
    packages = packages_of(models)
    return models if all(step is asked or asks_nothing(step, packages) for step in steps) else None


def _options(runnable: Any) -> dict[str, Any]:
    """Return what is bound to the first model: tools, stop words."""
    found: dict[str, Any] = {}
    while runnable is not None and not hasattr(runnable, "_llm_type"):
        found = {**(getattr(runnable, "kwargs", None) or {}), **found}
        inner = (getattr(runnable, name, None) for name in ("runnable", "bound"))
        runnable = next((each for each in inner if each is not None), None)
    return found
