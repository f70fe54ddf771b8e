"""Context for coroutines that a sync function of litellm runs on a loop of its own, in another thread if need be."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from opentelemetry.context import attach, get_current

from otel_tokenstream.core.call.nesting import CallScope, call_being_read, current_call
from otel_tokenstream.patches.litellm.hooks.attempts import carrying
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable

# Where the function was imported by name.
_MODULES = (
    "litellm.interactions.streaming_iterator",
    "litellm.litellm_core_utils.fallback_utils",
    "litellm.llms.anthropic.experimental_pass_through.adapters.handler",
    "litellm.llms.anthropic.messages.adapters.handler",
    "litellm.llms.anthropic.messages.responses_adapters.handler",
    "litellm.llms.anthropic.pass_through.adapters.handler",
    "litellm.llms.custom_httpx.llm_http_handler",
    "litellm.main",
    "litellm.responses.main",
    "litellm.responses.streaming_iterator",
    "litellm.router",
    "litellm.router_python_core",
)


def patches() -> list[Patch]:
    return [Patch(module, "run_async_function", _in_callers_context, "litellm", optional=True) for module in _MODULES]


def _in_callers_context(original: Any) -> Callable[..., Any]:
    """Let a coroutine that litellm runs on a loop in another thread know whose call it belongs to."""

    @wraps(original)
    def run_async_function(async_function: Any, *args: Any, **kwargs: Any) -> Any:
        call, broken_off, carry, context = current_call(), call_being_read(), carrying(), get_current()

        @wraps(async_function)
        async def within(*args: Any, **kwargs: Any) -> Any:
            # The coroutine is a task of its own: what is set here ends with it.
            carry()
            if call is not None:
                with CallScope(call):
                    return await async_function(*args, **kwargs)
            attach(context if broken_off is None else broken_off.context)
            return await async_function(*args, **kwargs)

        return original(within, *args, **kwargs)

    return run_async_function
