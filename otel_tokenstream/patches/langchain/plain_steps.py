"""Steps of a chain that certainly ask no model."""

from __future__ import annotations

from functools import partial
from inspect import isfunction
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PLAIN = ("langchain_core.prompts.", "langchain_core.output_parsers.")
_RUNNABLES = "langchain_core.runnables."
# Where runnables of LangChain's have the runnables and the functions that they run.
_PARTS: dict[str, Callable[[Any], Iterable[Any]]] = {
    "RunnableAssign": lambda step: [step.mapper],
    "RunnableBinding": lambda step: [step.bound],
    "RunnableGenerator": lambda _: (),
    "RunnableLambda": lambda _: (),
    "RunnableParallel": lambda step: step.steps__.values(),
    "RunnablePassthrough": lambda _: (),
    "RunnablePick": lambda _: (),
    "RunnableSequence": lambda step: step.steps,
}
_FUNCTIONS = ("func", "afunc", "_transform", "_atransform")


def packages_of(models: Iterable[object]) -> set[str]:
    """Return the packages of LangChain's that the models' classes come from."""
    modules = (cls.__module__.partition(".")[0] for model in models for cls in type(model).__mro__)
    return {name for name in modules if name.startswith("langchain_")}


def asks_nothing(step: object, packages: set[str]) -> bool:
    """Return whether a step runs nothing but prompts, parsers and functions of LangChain's ``packages``."""
    kind = type(step)
    if kind.__module__.startswith(_PLAIN):
        return True
    name = kind.__name__.partition("[")[0]  # a generic class's, whatever its parameters
    parts = _PARTS.get(name) if kind.__module__.startswith(_RUNNABLES) else None
    if parts is None:
        return False
    functions = [found for name in _FUNCTIONS if (found := vars(step).get(name)) is not None]
    return all(asks_nothing(part, packages) for part in parts(step)) and all(
        _is_plain(function, packages) for function in functions
    )


def _is_plain(function: Any, packages: set[str]) -> bool:
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, (itemgetter, attrgetter)):
        return True
    # Methods do not count: ``model.invoke`` is one of LangChain's.
    return isfunction(function) and function.__module__.partition(".")[0] in packages
