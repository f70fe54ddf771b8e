"""What distinguishes one public function of litellm from another."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.guard import guarded
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.target import Target, target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader


def _streamed(asked: Mapping[str, Any]) -> bool:
    return asked.get("stream") is True


def _same(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    return asked


@dataclass(frozen=True)
class Entry:
    """How to read a request, its stream and its plain answer.

    ``arguments`` are the names of the positional ones, for a function that does not tell them
    itself (see ``of``); ``prompt`` is the one with the messages, and ``options`` gives the
    request's options by the names of the chat entry. ``within`` finds the request in the
    arguments, where they are not it.
    """

    operation: str
    arguments: tuple[str, ...]
    prompt: str
    reader: Callable[[Generation], Reader]
    read_answer: Callable[[Generation, Any], None]
    options: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _same
    streamed: Callable[[Mapping[str, Any]], bool] = _streamed
    target: Callable[[Mapping[str, Any]], Target] = target
    fields: bool = False
    usage_on_request: bool = False
    within: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _same

    def of(self, function: Callable[..., Any]) -> Entry:
        """Return the entry with the names of a function's own positional arguments, which differ between versions."""
        return guarded(self._of)(function) or self

    def _of(self, function: Callable[..., Any]) -> Entry:
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        names = tuple(each.name for each in parameters if each.kind in positional)
        return replace(self, arguments=names or self.arguments)

    @guarded
    def parameters(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Span attributes for the request's options."""
        return openai_shape.parameters(self.options(asked))

    def asked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """All arguments by name."""
        return self.within({**dict(zip(self.arguments, args, strict=False)), **kwargs} if args else kwargs)
