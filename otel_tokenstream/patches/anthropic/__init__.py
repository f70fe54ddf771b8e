"""Anthropic's SDK: messages, of Anthropic's API and of the clouds that have its models."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.nesting import current_call
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import sdk_requests
from otel_tokenstream.patches.litellm.apis import anthropic_messages
from otel_tokenstream.patches.sdk_requests import Sdk
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.emit.telemetry import Telemetry

_CLOUDS = {
    "AnthropicBedrock": "aws.bedrock",
    "AnthropicFoundry": "azure.ai.inference",
    "AnthropicVertex": "gcp.vertex_ai",
}


def table(telemetry: Telemetry) -> PatchTable:
    # Since 2.14 the SDK makes a span of its own for each request.
    own_span = Patch("anthropic._base_client", "start_api_call_span", _own_span, after="anthropic", optional=True)
    return PatchTable([*sdk_requests.patches(telemetry, _SDK), own_span], "anthropic")


def _own_span(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let the SDK make no span where the call has one."""

    @wraps(original)
    def start_api_call_span(*args: Any, **kwargs: Any) -> Any:
        return None if guarded(current_call)() is not None else original(*args, **kwargs)

    return start_api_call_span


def _provider(client: Any) -> str:
    for each in type(client).__mro__:
        for name, provider in _CLOUDS.items():
            if each.__name__.removeprefix("Async").startswith(name):
                return provider
    return "anthropic"


_SDK = Sdk(package="anthropic", apis={"/v1/messages": anthropic_messages.ENDPOINT}, provider=_provider)
