"""lionpride's endpoints and lionagi's models, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.entries.entry import PLAIN, Entry

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

_ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}]}
_STREAM: dict[str, Any] = {**_ASKED, "stream_options": {"include_usage": True}}


def _pride(provider: ScriptedProvider) -> Any:
    from lionpride.services.providers.oai_chat import OAIChatEndpoint, create_oai_chat

    return OAIChatEndpoint(config=create_oai_chat(base_url=provider.base_url, api_key="none"))


def _pride_model(provider: ScriptedProvider) -> Any:
    from lionpride.services.types.imodel import iModel

    return iModel(backend=_pride(provider))


def lionagi_model(provider: ScriptedProvider, kind: str = "openai") -> Any:
    """A model of lionagi; it counts tokens by a table that tiktoken would download, and refuses local servers."""
    import lionagi

    address = provider.base_url
    made = lionagi.iModel(provider=kind, model="test", base_url=address, api_key="none")
    made.endpoint.config.requires_tokens = False
    made.endpoint.config.allow_local_network = True
    return made


def _claude(provider: ScriptedProvider) -> Any:
    return lionagi_model(provider, "anthropic")


LIONPRIDE = (
    Entry("lionpride", "Endpoint.stream()", (lambda at: _pride(at).stream({"model": "test", **_STREAM}),)),
    Entry("lionpride", "Endpoint.call()", (lambda at: _pride(at).call({"model": "test", **_ASKED}),), PLAIN),
    Entry("lionpride", "iModel.invoke()", (lambda at: _pride_model(at).invoke(model="test", **_ASKED),), PLAIN),
)

LIONAGI = (
    Entry("lionagi", "iModel.stream()", (lambda at: lionagi_model(at).stream(**_STREAM),)),
    Entry("lionagi", "iModel.stream() of Anthropic", (lambda at: _claude(at).stream(**_ASKED, max_tokens=9),)),
    Entry(
        "lionagi", "Endpoint.stream()", (lambda at: lionagi_model(at).endpoint.stream({"model": "test", **_STREAM}),)
    ),
    Entry("lionagi", "iModel.invoke()", (lambda at: lionagi_model(at).invoke(**_ASKED),), PLAIN),
)
