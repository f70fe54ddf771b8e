"""Descriptions of litellm's public functions."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.target import Target, target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader


def _streamed(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("stream") is True


def _same(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return arguments


@lru_cache
def _positional(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of a function's positional arguments."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return tuple(each.name for each in parameters if each.kind in positional)


@dataclass(frozen=True)
class Endpoint:
    """How to read a request, its stream and its plain answer.

    ``arguments`` are the names of the positional ones, for a function that does not tell them
    itself (see ``of``); ``prompt`` is the one with the messages, and ``options`` gives the
    request's options by the names of the chat endpoint. ``within`` finds the request in the
    arguments, where they are not it.
    """

    operation: str
    arguments: tuple[str, ...]
    prompt: str
    reader: Callable[[ModelCall], Reader]
    read_answer: Callable[[ModelCall, Any], None]
    options: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _same
    streamed: Callable[[Mapping[str, Any]], bool] = _streamed
    target: Callable[[Mapping[str, Any]], Target] = target
    fields: bool = False
    usage_on_request: bool = False
    within: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _same

    def of(self, function: Callable[..., Any]) -> Endpoint:
        """Return the endpoint with a function's own names of its positional arguments: versions differ."""
        return guarded(self._of)(function) or self

    def _of(self, function: Callable[..., Any]) -> Endpoint:
        return replace(self, arguments=_positional(function) or self.arguments)

    @guarded
    def parameters(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Span attributes for the request's options."""
        return openai_shape.parameters(self.options(arguments))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """All arguments by name."""
        return self.within({**dict(zip(self.arguments, args, strict=False)), **kwargs} if args else kwargs)
