"""Whom a call of litellm goes to: provider, model and server, as litellm will find them a moment later."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.patches import openai_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

OTHER = "_OTHER"


class Target(NamedTuple):
    """``provider`` is litellm's own name for it, ``convention`` the GenAI convention's."""

    provider: str
    model: str
    address: str | None
    port: int | None

    @property
    def convention(self) -> str:
        return openai_shape.provider_name(self.provider) or OTHER


# A call's first attempt goes where the call goes, and litellm can take long to find out.
_latest: ContextVar[tuple[tuple[Any, ...], Target] | None] = ContextVar("otel_tokenstream_litellm_target", default=None)


def target_again(asked: Mapping[str, Any]) -> Target:
    """Return the latest target where the same was asked for."""
    latest = _latest.get()
    return latest[1] if latest is not None and latest[0] == _key(asked) else target(asked)


def target(asked: Mapping[str, Any]) -> Target:
    found = _find(asked)
    _latest.set((_key(asked), found))
    return found


def _key(asked: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(asked.get(name) for name in ("model", "custom_llm_provider", "api_base", "base_url"))


def _find(asked: Mapping[str, Any]) -> Target:
    model = str(asked.get("model"))
    provider, base = asked.get("custom_llm_provider") or "", asked.get("api_base") or asked.get("base_url")
    base = base or asked.get("aws_bedrock_runtime_endpoint")
    try:
        model, provider, _, known_base = sys.modules["litellm"].get_llm_provider(
            model, custom_llm_provider=provider or None, api_base=base
        )
        base = base or known_base
    except Exception:  # noqa: BLE001, S110  # an unknown model is litellm's to refuse, a moment later
        pass
    return Target(provider, model, *openai_shape.server(base or _configured_base(provider)))


def _configured_base(provider: str) -> object:
    base = getattr(sys.modules["litellm"], "api_base", None)
    if base is None and openai_shape.provider_name(provider) == "openai":
        base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or "https://api.openai.com/v1"
    return base
