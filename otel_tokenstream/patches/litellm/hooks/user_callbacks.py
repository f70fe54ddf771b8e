"""Code of the program's that litellm runs within a call: providers, callbacks, routing strategies and caches.

The models that they ask are calls of their own, and neither part of that call nor its attempts.
Nor is a router's shadow traffic.
"""

from __future__ import annotations

import inspect
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.litellm.hooks.attempts import outside_call
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# A module, a class and its methods that run callbacks before a call has returned.
_LOGGING = (
    "litellm.litellm_core_utils.litellm_logging",
    "Logging",
    ("pre_call", "post_call", "failure_handler", "async_failure_handler"),
)
_CACHE = ("litellm.caching.caching", "Cache", ("get_cache", "async_get_cache", "add_cache", "async_add_cache"))

# The second in 1.109 only, where it is the first one's core. Since 1.110 the core is native and has a host in Python.
_ROUTERS = (("litellm.router", "Router"), ("litellm.router_python_core", "PythonCore"))
_CHECKS = (
    "async_callback_filter_deployments",
    "async_routing_strategy_pre_call_checks",
    "routing_strategy_pre_call_checks",
)
_HOST = (
    ("litellm.router_rust.steps.callbacks", "OptionalChecks", ("filter_deployments",)),
    ("litellm.router_rust.invoke.endpoints", "RustEndpoints", ("sync_pre_call_checks",)),
    ("litellm.router_rust.core", "RustCore", ("_custom_pick_sync",)),
)

# Functions that run callbacks around the request to a deployment. The last two modules keep copies.
_AROUND_REQUEST = (
    ("litellm.utils", "async_pre_call_deployment_hook"),
    ("litellm.utils", "async_post_call_success_deployment_hook"),
    ("litellm.utils", "async_post_call_failure_deployment_hook"),
    ("litellm.llms.custom_httpx.llm_http_handler", "async_pre_call_deployment_hook"),
    ("litellm.responses.streaming_iterator", "async_post_call_success_deployment_hook"),
)

# Methods that put a routing strategy of the program's on a router in Python, under names of its own.
_STRATEGY_SETTERS = (
    ("litellm.router", "Router.set_custom_routing_strategy"),
    ("litellm.router_python_core", "PythonCore._core_set_custom_routing_strategy"),
)
_STRATEGY = ("get_available_deployment", "async_get_available_deployment", "_core_async_get_available_deployment")

# Functions that send the request to a deployment's ``silent_model`` beside an async call.
_SHADOWS = (
    ("litellm.router", "Router._silent_experiment_acompletion"),
    ("litellm.router_python_core", "PythonCore._silent_experiment_acompletion"),
    ("litellm.router_rust.invoke.endpoints", "_silent_async"),
)


def patches() -> Iterator[Patch]:
    yield _patch("litellm.main", "custom_chat_llm_router", _choosing)
    for module, owner, names in (_LOGGING, _CACHE, *((*each, _CHECKS) for each in _ROUTERS), *_HOST):
        for name in names:
            yield _patch(module, f"{owner}.{name}", _running)
    for module, name in _AROUND_REQUEST:
        yield _patch(module, name, _hooked)
    for module, name in _STRATEGY_SETTERS:
        yield _patch(module, name, _setting_strategy)
    yield _patch("litellm.router_rust.core", "RustCore._pre_route", _picking)
    for module, name in (*_SHADOWS, ("litellm.router_rust.core", "routing_pre_call_checks")):
        yield _patch(module, name, _set_apart)


def _patch(module: str, name: str, wrap: Callable[[Any], Any]) -> Patch:
    return Patch(module, name, wrap, "litellm", optional=True)


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


def _hooked(original: Any) -> Callable[..., Any]:
    """Set a function apart that runs callbacks, where there are any."""

    @wraps(original)
    async def hook(*args: Any, **kwargs: Any) -> Any:
        if not sys.modules["litellm"].callbacks:
            return await original(*args, **kwargs)
        with outside_call():
            return await original(*args, **kwargs)

    return hook


def _setting_strategy(original: Any) -> Callable[..., Any]:
    """Set apart the methods of a strategy that a router is given: every one of its entries asks them."""

    @wraps(original)
    def set_strategy(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original.__get__(self)(*args, **kwargs)
        _set_strategy_apart(vars(self))
        return result

    return set_strategy


@guarded
def _set_strategy_apart(given: dict[str, Any]) -> None:
    given.update({name: _set_apart(given[name]) for name in _STRATEGY if name in given})


def _picking(original: Any) -> Callable[..., Any]:
    """Set a deployment's pick apart where a strategy of the program's makes it."""

    @wraps(original)
    async def pick(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = vars(self)
        if own.get("_custom_strategy") is None and "_core_async_get_available_deployment" not in own:
            return await original.__get__(self)(*args, **kwargs)
        with outside_call():
            return await original.__get__(self)(*args, **kwargs)

    return pick


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
