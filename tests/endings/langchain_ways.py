"""LangChain's models: their streams, the events of its third protocol, and a chain."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.endings.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from tests.endings.entries import Opener


@cache
def _openai(base_url: str, timeout: float) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="test", base_url=base_url, api_key="none", timeout=timeout, max_retries=0)


@cache
def _anthropic(base_url: str, timeout: float) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model="test", base_url=base_url, api_key="none", timeout=timeout, max_retries=0)


@cache
def _litellm(base_url: str, timeout: float) -> Any:
    from langchain_litellm import ChatLiteLLM

    about = {"api_base": base_url, "api_key": "none", "request_timeout": timeout, "max_retries": 0}
    return ChatLiteLLM(model="test", custom_llm_provider="openai", **about)


@cache
def _completions(base_url: str, timeout: float) -> Any:
    from langchain_openai import OpenAI

    return OpenAI(model="test", base_url=base_url, api_key="none", timeout=timeout, max_retries=0)


def _stream(make: Callable[[str, float], Any], address: str = "base_url") -> Opener:
    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        model = make(getattr(provider, address), timeout)
        return lambda: model.stream("Why?")

    return opener


def _astream(make: Callable[[str, float], Any], address: str = "base_url") -> Opener:
    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        model = make(getattr(provider, address), timeout)

        async def opened() -> Any:
            return model.astream("Why?")

        return opened

    return opener


def _events(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    model = _openai(provider.base_url, timeout)
    return lambda: model.stream_events("Why?", version="v3")


def _aevents(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    model = _openai(provider.base_url, timeout)

    async def opened() -> Any:
        return await model.astream_events("Why?", version="v3")

    return opened


def _entry(name: str, is_async: bool, opener: Opener, **more: Any) -> Entry:
    return Entry(name, "langchain", is_async, opener, **{"closes": True, "own_chunks": True, **more})


LANGCHAIN = (
    _entry("LangChain", False, _stream(_openai), usual=True),
    _entry("LangChain, async", True, _astream(_openai), usual=True),
    _entry("LangChain to Anthropic, async", True, _astream(_anthropic, "address")),
    _entry("LangChain over litellm", False, _stream(_litellm)),
    _entry("LangChain over litellm, async", True, _astream(_litellm)),
    _entry("LangChain completion model", False, _stream(_completions)),
    _entry("LangChain completion model, async", True, _astream(_completions)),
    _entry("LangChain stream_events v3", False, _events, closes=False),
    _entry("LangChain stream_events v3, async", True, _aevents, reads_on=True),
)
