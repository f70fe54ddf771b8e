"""The SDKs of OpenAI and Anthropic: their streams, and what their helpers make of them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.endings.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from tests.endings.entries import Opener

_QUESTION = [{"role": "user", "content": "Why?"}]
_CHAT = {"model": "test", "messages": _QUESTION, "stream": True}
_MESSAGES = {**_CHAT, "max_tokens": 9}
_RESPONSES = {"model": "test", "input": "Why?", "stream": True}


@cache
def _openai(kind: str, base_url: str, timeout: float) -> Any:
    import openai

    return getattr(openai, kind)(base_url=base_url, api_key="none", timeout=timeout, max_retries=0)


@cache
def _anthropic(kind: str, base_url: str, timeout: float) -> Any:
    import anthropic

    return getattr(anthropic, kind)(base_url=base_url, api_key="none", timeout=timeout, max_retries=0)


def _opener(kind: str, path: str, **asked: Any) -> Opener:
    """Open by a method of a client; ``path`` is under the client."""

    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        is_openai = kind.endswith("OpenAI")
        found = _openai(kind, provider.base_url, timeout) if is_openai else _anthropic(kind, provider.address, timeout)
        for name in path.split("."):
            found = getattr(found, name)
        return lambda: found(**asked)

    return opener


def _entry(name: str, is_async: bool, opener: Opener, **more: Any) -> Entry:
    # A client's async stream has close(), which must be awaited, and no aclose().
    return Entry(name, "sdk", is_async, opener, **{"closes": not is_async, **more})


SDKS = (
    _entry("OpenAI", False, _opener("OpenAI", "chat.completions.create", **_CHAT)),
    _entry("OpenAI, async", True, _opener("AsyncOpenAI", "chat.completions.create", **_CHAT)),
    _entry("OpenAI responses", False, _opener("OpenAI", "responses.create", **_RESPONSES)),
    _entry("OpenAI responses, async", True, _opener("AsyncOpenAI", "responses.create", **_RESPONSES)),
    _entry("Anthropic", False, _opener("Anthropic", "messages.create", **_MESSAGES)),
    _entry("Anthropic, async", True, _opener("AsyncAnthropic", "messages.create", **_MESSAGES)),
)
