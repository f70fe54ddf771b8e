"""What distinguishes one public function of litellm from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

    ``arguments`` are the names of the positional ones, ``prompt`` is the one with the
    messages; ``options`` gives the request's options by the names of the chat entry.
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

    def asked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """All arguments by name."""
        return {**dict(zip(self.arguments, args, strict=False)), **kwargs} if args else kwargs
