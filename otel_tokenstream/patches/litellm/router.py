"""``Router``: one generation around all retries and fallbacks of a call.

Whatever a router does passes through few of its methods, embeddings and files included; which
entry of litellm a call is for is told by the function it hands on.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.guard import guarded
from otel_tokenstream.core.ownership import owner
from otel_tokenstream.patches.litellm import chat, google, messages, relayed, responses, text
from otel_tokenstream.patches.litellm.calls import acalling, calling
from otel_tokenstream.patches.litellm.target import OTHER, Target, target
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.entry import Entry

# The second since 1.109.
_CLASSES = (("litellm.router", "Router"), ("litellm.router_python_core", "PythonCore"))

_ENTRIES = {
    "_completion": chat.ENTRY,
    "_acompletion": chat.ENTRY,
    "_atext_completion": text.ENTRY,
    "responses": responses.ENTRY,
    "aresponses": responses.ENTRY,
    "anthropic_messages": messages.ENTRY,
    "generate_content": google.ENTRY,
    "agenerate_content": google.ENTRY,
    "generate_content_stream": google.STREAMED,
    "agenerate_content_stream": google.STREAMED,
}


def patches(telemetry: Telemetry) -> list[Patch]:
    return [
        Patch(module, name, wrap, "litellm", optional=True)
        for module, router in _CLASSES
        for name, wrap in (
            (f"{router}.function_with_fallbacks", partial(_method, telemetry)),
            (f"{router}._generic_api_call_with_fallbacks", partial(_method, telemetry)),
            (f"{router}.async_function_with_fallbacks", partial(_amethod, telemetry)),
        )
    ]


def _method(telemetry: Telemetry, original: Any) -> Callable[..., Any]:
    @wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function, entry = original.__get__(self), _entry(self, kwargs)
        if entry is not None:
            function = calling(telemetry, entry, function)
        return function(*args, **kwargs)

    return method


def _amethod(telemetry: Telemetry, original: Any) -> Callable[..., Any]:
    @wraps(original)
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        function, entry = original.__get__(self), _entry(self, kwargs)
        if entry is not None:
            function = acalling(telemetry, entry, function)
        return await function(*args, **kwargs)

    return method


@guarded
def _entry(router: Any, kwargs: Mapping[str, Any]) -> Entry | None:
    if owner() is not None:
        return None
    function = kwargs.get("original_generic_function") or kwargs.get("original_function")
    name = getattr(function, "__name__", "")
    entry = relayed.entry_of(kwargs) if name in relayed.NAMES else _ENTRIES.get(name)
    return None if entry is None else replace(entry, target=partial(_target, router))


def _target(router: Any, asked: Mapping[str, Any]) -> Target:
    """The group by its name, with the provider and server of its first deployment.

    If another deployment answers in the end, its attempt corrects them.
    """
    group = str(asked.get("model"))
    for deployment in getattr(router, "model_list", None) or ():
        if deployment.get("model_name") == group:
            return target(deployment["litellm_params"])._replace(model=group)
    known = target(asked)
    return known if known.provider else Target(OTHER, group, None, None)
