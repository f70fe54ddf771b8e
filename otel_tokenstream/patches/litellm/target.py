"""Whom a call of litellm goes to: provider, model and server, as litellm will find them a moment later."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.litellm.routes import without_route

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER = "_OTHER"

# To ask litellm about these providers makes it log in, which can open a dialogue with the user.
_AUTHENTICATING = ("chatgpt", "github_copilot")


class Target(NamedTuple):
    """``provider`` is litellm's own name for it, ``convention`` the GenAI convention's.

    ``routed`` is the model with litellm's routes and regions before it, as its table of prices may have it.
    """

    provider: str
    model: str
    address: str | None
    port: int | None
    routed: str = ""

    @property
    def convention(self) -> str:
        return openai_shape.provider_name(self.provider) or OTHER


# A call's first attempt goes where the call goes, and litellm can take long to find out.
_latest: ContextVar[tuple[tuple[Any, ...], Target] | None] = ContextVar("otel_tokenstream_litellm_target", default=None)


def target_again(arguments: Mapping[str, Any]) -> Target:
    """Return the latest target where the same was asked for."""
    latest = _latest.get()
    return latest[1] if latest is not None and latest[0] == _key(arguments) else target(arguments)


def target(arguments: Mapping[str, Any]) -> Target:
    found = _find(arguments)
    _latest.set((_key(arguments), found))
    return found


def _key(arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(arguments.get(name) for name in ("model", "custom_llm_provider", "api_base", "base_url"))


def _find(arguments: Mapping[str, Any]) -> Target:
    model = str(arguments.get("model"))
    provider = arguments.get("custom_llm_provider")
    if not isinstance(provider, str):  # None, or a mock
        provider = ""
    base = arguments.get("api_base") or arguments.get("base_url") or arguments.get("aws_bedrock_runtime_endpoint")
    declared = provider or model.partition("/")[0]
    if declared in _AUTHENTICATING:
        return Target(declared, without_route(declared, model.removeprefix(f"{declared}/")), None, None)
    try:
        model, provider, _, known_base = sys.modules["litellm"].get_llm_provider(
            model, custom_llm_provider=provider or None, api_base=base
        )
        base = base or known_base
    except Exception:  # noqa: BLE001, S110  # an unknown model is litellm's to refuse, a moment later
        pass
    address, port = openai_shape.server(base or _configured_base(provider))
    return Target(provider, without_route(provider, model), address, port, model)


def _configured_base(provider: str) -> object:
    base = getattr(sys.modules["litellm"], "api_base", None)
    if base is None and openai_shape.provider_name(provider) == "openai":
        base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or "https://api.openai.com/v1"
    return base
