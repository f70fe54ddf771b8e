"""``Router``: one model call around all retries and fallbacks of a call.

Whatever a router does passes through few of its methods, embeddings and files included. Up to
1.109 the function they hand on names the entry of litellm that a call is for; since 1.110, where
the router's core is native and its host in Python makes the requests, the call's plan does. These
methods are below the public ones, which programs replace by their own and by mocks.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.nesting import current_call, outside_read
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.litellm.apis import anthropic_messages, chat, completions, gemini, responses
from otel_tokenstream.patches.litellm.hooks import passthrough_sdk
from otel_tokenstream.patches.litellm.hooks.calls import acalling, calling
from otel_tokenstream.patches.litellm.hooks.recovery import aopening, arecovering, opening, recovering
from otel_tokenstream.patches.litellm.target import OTHER, Target, target
from otel_tokenstream.patches.seams import LITELLM, PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

# The second in 1.109 only, where the first hands all on to it.
_IN_PYTHON = (("litellm.router", "Router"), ("litellm.router_python_core", "PythonCore"))
_IN_RUST = "litellm.router_rust.core"

_SYNC = (PublicEntry("litellm.Router"),)
_ASYNC = (PublicEntry("litellm.Router's async methods"),)
_REPLACED = (PublicEntry("streams that litellm.Router replaces", LITELLM),)

# By the public name. A router in Python may have an underscore before it.
_ENDPOINTS = {
    "completion": chat.ENDPOINT,
    "acompletion": chat.ENDPOINT,
    "atext_completion": completions.ENDPOINT,
    "responses": responses.ENDPOINT,
    "aresponses": responses.ENDPOINT,
    "anthropic_messages": anthropic_messages.ENDPOINT,
    "aanthropic_messages": anthropic_messages.ENDPOINT,
    "generate_content": gemini.ENDPOINT,
    "agenerate_content": gemini.ENDPOINT,
    "generate_content_stream": gemini.STREAMED,
    "agenerate_content_stream": gemini.STREAMED,
}


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    for module, core in _IN_PYTHON:
        for name, wrap, entries in (
            ("function_with_fallbacks", partial(_method, telemetry), _SYNC),
            ("_generic_api_call_with_fallbacks", partial(_method, telemetry), ()),
            ("async_function_with_fallbacks", partial(_amethod, telemetry), _ASYNC),
            ("async_function_with_fallbacks_common_utils", arecovering, _REPLACED),
            ("_aanthropic_messages_retry_same_group", arecovering, ()),
        ):
            yield Patch(module, f"{core}.{name}", wrap, "litellm", optional=True, entries=entries)
    for name, wrap, entries in (
        ("RustCore._call_sync", partial(_drive, telemetry), _SYNC),
        ("RustCore._drive", partial(_adrive, telemetry), _ASYNC),
        ("RustCore.recover_stream_sync", recovering, ()),
        ("RustCore.recover_stream", arecovering, _REPLACED),
        ("RustCore.retry_stream", arecovering, ()),
        ("open_attempt_stream_sync", opening, ()),
        ("open_attempt_stream", aopening, ()),
    ):
        yield Patch(_IN_RUST, name, wrap, "litellm", optional=True, entries=entries)


def _method(telemetry: Telemetry, original: Any) -> Callable[..., Any]:
    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function, endpoint = original.__get__(self), _endpoint(self, kwargs)
        if endpoint is None:
            with outside_read():
                return function(*args, **kwargs)
        return calling(telemetry, endpoint, function)(*args, **kwargs)

    return method


def _amethod(telemetry: Telemetry, original: Any) -> Callable[..., Any]:
    @wraps(original)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function, endpoint = original.__get__(self), _endpoint(self, kwargs)
        if endpoint is None:
            with outside_read():
                return await function(*args, **kwargs)
        return await acalling(telemetry, endpoint, function)(*args, **kwargs)

    return method


def _drive(telemetry: Telemetry, original: Any) -> Callable[..., Any]:
    @wraps(original)
    def drive(self: Any, plan: Any, request: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        def call(**arguments: Any) -> Any:
            return original(self, plan, arguments, *args, **kwargs)

        endpoint = _endpoint(self, request, plan)
        if endpoint is None:
            with outside_read():
                return original(self, plan, request, *args, **kwargs)
        return calling(telemetry, endpoint, call)(**request)

    return drive


def _adrive(telemetry: Telemetry, original: Any) -> Callable[..., Any]:
    @wraps(original)
    async def drive(self: Any, plan: Any, request: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        async def call(**arguments: Any) -> Any:
            return await original(self, plan, arguments, *args, **kwargs)

        endpoint = _endpoint(self, request, plan)
        if endpoint is None:
            with outside_read():
                return await original(self, plan, request, *args, **kwargs)
        return await acalling(telemetry, endpoint, call)(**request)

    return drive


@guarded
def _endpoint(router: Any, arguments: Mapping[str, Any], plan: Any = None) -> Endpoint | None:
    if current_call() is not None:
        return None
    function = arguments.get("original_generic_function") or arguments.get("original_function")
    name = getattr(function, "__name__", "") if plan is None else plan.endpoint
    known = _ENDPOINTS.get(name.removeprefix("_"))
    endpoint = passthrough_sdk.endpoint_of(arguments) if name in passthrough_sdk.NAMES else known
    return None if endpoint is None else replace(endpoint, target=partial(_target, router))


def _target(router: Any, arguments: Mapping[str, Any]) -> Target:
    """The group by its name, with the provider and server of its first deployment.

    If another deployment answers in the end, its attempt corrects them.
    """
    group = str(arguments.get("model"))
    for deployment in _deployments(router):
        if deployment.get("model_name") == group:
            return target(deployment["litellm_params"])._replace(model=group)
    known = target(arguments)
    return known if known.provider else Target(OTHER, group, None, None)


def _deployments(router: Any) -> Sequence[Mapping[str, Any]]:
    # Reading model_list warns the program since 1.109.
    if hasattr(router, "registry"):
        return router.registry().all() or ()
    return getattr(router, "model_list", None) or ()
