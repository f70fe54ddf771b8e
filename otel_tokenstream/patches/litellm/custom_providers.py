"""Providers that a program writes for litellm: whom their own code asks is their affair, and no attempt of the call."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.fields.held import held
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_answering: ContextVar[bool] = ContextVar("otel_tokenstream_custom_provider", default=False)


def are_answering() -> bool:
    return _answering.get()


def patches() -> list[Patch]:
    return [Patch("litellm.main", "custom_chat_llm_router", _choosing, "litellm", optional=True)]


def _choosing(original: Any) -> Callable[..., Any]:
    """Make what litellm chooses among a provider's functions known as theirs while it runs."""

    @wraps(original)
    def custom_chat_llm_router(*args: Any, **kwargs: Any) -> Any:
        return _known(original(*args, **kwargs))

    return custom_chat_llm_router


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def answer(*args: Any, **kwargs: Any) -> Any:
        with held(_answering, True):
            result = function(*args, **kwargs)
        return _awaited(result) if inspect.iscoroutine(result) else result

    return answer


async def _awaited(result: Awaitable[Any]) -> Any:
    with held(_answering, True):
        return await result
