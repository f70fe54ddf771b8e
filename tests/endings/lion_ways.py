"""lionpride's endpoint and lionagi's model, over HTTP."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.endings.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from tests.endings.entries import Opener

_QUESTION = [{"role": "user", "content": "Why?"}]


@cache
def _lionpride(base_url: str, timeout: float) -> Any:
    from lionpride.services.providers.oai_chat import OAIChatEndpoint, create_oai_chat

    config = create_oai_chat(base_url=base_url, api_key="none")
    return OAIChatEndpoint(config={**config, "timeout": max(int(timeout), 1)})


def _lionagi(base_url: str, timeout: float) -> Any:
    import lionagi

    model = lionagi.iModel(provider="openai", model="test", base_url=base_url, api_key="none")
    model.endpoint.config.allow_local_network = True
    model.endpoint.config.requires_tokens = False  # by a table that would be downloaded
    model.endpoint.config.client_kwargs["timeout"] = timeout
    return model


def _endpoint(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    endpoint = _lionpride(provider.base_url, timeout)

    async def opened() -> Any:
        return endpoint.stream({"model": "test", "messages": _QUESTION})

    return opened


def _model(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    model = _lionagi(provider.base_url, timeout)

    async def opened() -> Any:
        return model.stream(messages=_QUESTION)

    return opened


def _entry(name: str, opener: Opener, **more: Any) -> Entry:
    return Entry(name, name, True, opener, closes=True, **more)


LION = (_entry("lionpride", _endpoint), _entry("lionagi", _model))
