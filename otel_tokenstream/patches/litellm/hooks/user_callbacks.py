"""Code of the program's that litellm runs within a call: its providers and callbacks. And a router's shadow traffic.

What they ask models for are calls of their own, and neither part of that call nor its attempts.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.patches.litellm.hooks.attempts import outside_call
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# Functions that run callbacks before a call has returned.
_LOGGING = ("pre_call", "post_call", "failure_handler", "async_failure_handler")


# Functions that send the request to a deployment's ``silent_model`` beside an async call.
_SHADOWS = (
    ("litellm.router", "Router._silent_experiment_acompletion"),
    ("litellm.router_python_core", "PythonCore._silent_experiment_acompletion"),
    ("litellm.router_rust.invoke.endpoints", "_silent_async"),
)


def patches() -> Iterator[Patch]:
    yield Patch("litellm.main", "custom_chat_llm_router", _choosing, "litellm", optional=True)
    for name in _LOGGING:
        yield Patch("litellm.litellm_core_utils.litellm_logging", f"Logging.{name}", _running, "litellm", optional=True)
    for module, name in _SHADOWS:
        yield Patch(module, name, _set_apart, "litellm", optional=True)


def _choosing(original: Any) -> Callable[..., Any]:
    """Set what litellm chooses among a provider's functions apart."""

    @wraps(original)
    def custom_chat_llm_router(*args: Any, **kwargs: Any) -> Any:
        return _set_apart(original(*args, **kwargs))

    return custom_chat_llm_router


def _running(original: Any) -> Callable[..., Any]:
    @wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _set_apart(original.__get__(self))(*args, **kwargs)

    @wraps(original)
    async def arun(self: Any, *args: Any, **kwargs: Any) -> Any:
        with outside_call():
            return await original.__get__(self)(*args, **kwargs)

    return arun if inspect.iscoroutinefunction(original) else run


def _set_apart(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with outside_call():
            result = function(*args, **kwargs)
        return _awaited(result) if inspect.iscoroutine(result) else result

    return run


async def _awaited(result: Awaitable[Any]) -> Any:
    with outside_call():
        return await result
