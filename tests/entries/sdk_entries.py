"""The SDKs of OpenAI and Anthropic: each API in each of its forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.entries.entry import ALL, PLAIN, USAGE, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

_QUESTION = [{"role": "user", "content": "Why?"}]
_USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}
_CHAT: dict[str, Any] = {"model": "test", "messages": _QUESTION}
_TEXT: dict[str, Any] = {"model": "test", "prompt": "Why?"}
_RESPONSES: dict[str, Any] = {"model": "test", "input": "Why?"}
_MESSAGES: dict[str, Any] = {**_CHAT, "max_tokens": 9}
_STREAM = {"stream": True}


def _client(kind: str, provider: ScriptedProvider) -> Any:
    import anthropic
    import openai

    if kind.endswith("AzureOpenAI"):
        about = {"azure_endpoint": provider.address, "api_version": "2024-10-21"}
        return getattr(openai, kind)(api_key="none", max_retries=0, **about)
    if kind.endswith("OpenAI"):
        return getattr(openai, kind)(api_key="none", max_retries=0, base_url=provider.base_url)
    return getattr(anthropic, kind)(api_key="none", max_retries=0, base_url=provider.address)


def _ways(kind: str, path: str, asked: dict[str, Any]) -> tuple[Callable[[ScriptedProvider], Any], ...]:
    """The sync and the async method of a client; ``path`` is under the client."""

    def way(client: str) -> Callable[[ScriptedProvider], Any]:
        def ask(provider: ScriptedProvider) -> Any:
            found = _client(client, provider)
            for name in path.split("."):
                found = getattr(found, name)
            return found(**asked)

        return ask

    return way(kind), way(f"Async{kind}")


def _openai(path: str, asked: dict[str, Any], shown: str, seen: frozenset[str] = ALL) -> Entry:
    return Entry("OpenAI", shown, _ways("OpenAI", path, asked), seen)


def _anthropic(path: str, asked: dict[str, Any], shown: str, seen: frozenset[str] = ALL) -> Entry:
    return Entry("Anthropic", shown, _ways("Anthropic", path, asked), seen)


_NOTHING = frozenset[str]()

OPENAI = (
    _openai("chat.completions.create", {**_CHAT, **_STREAM, **_USAGE}, "chat.completions.create(stream=True)"),
    _openai(
        "chat.completions.create",
        {**_CHAT, **_STREAM},
        "chat.completions.create(stream=True), without include_usage",
        ALL - {USAGE},
    ),
    _openai("chat.completions.stream", {**_CHAT, **_USAGE}, "chat.completions.stream()"),
    _openai("beta.chat.completions.stream", {**_CHAT, **_USAGE}, "beta.chat.completions.stream()"),
    _openai("chat.completions.create", _CHAT, "chat.completions.create()", PLAIN),
    _openai("chat.completions.parse", _CHAT, "chat.completions.parse()", PLAIN),
    _openai(
        "chat.completions.with_raw_response.create",
        {**_CHAT, **_STREAM, **_USAGE},
        "chat.completions.with_raw_response.create(stream=True)",
    ),
    _openai(
        "chat.completions.with_streaming_response.create",
        {**_CHAT, **_STREAM, **_USAGE},
        "chat.completions.with_streaming_response.create(stream=True)",
    ),
    _openai("chat.completions.with_raw_response.create", _CHAT, "chat.completions.with_raw_response.create()", PLAIN),
    _openai(
        "chat.completions.with_streaming_response.create",
        _CHAT,
        "chat.completions.with_streaming_response.create()",
        _NOTHING,
    ),
    _openai("completions.create", {**_TEXT, **_STREAM, **_USAGE}, "completions.create(stream=True)"),
    _openai("completions.create", _TEXT, "completions.create()", PLAIN),
    _openai("responses.create", {**_RESPONSES, **_STREAM}, "responses.create(stream=True)"),
    _openai("responses.stream", _RESPONSES, "responses.stream()"),
    _openai("responses.create", _RESPONSES, "responses.create()", PLAIN),
    _openai("responses.parse", _RESPONSES, "responses.parse()", PLAIN),
    _openai(
        "responses.with_raw_response.create",
        {**_RESPONSES, **_STREAM},
        "responses.with_raw_response.create(stream=True)",
    ),
    _openai(
        "responses.with_streaming_response.create",
        {**_RESPONSES, **_STREAM},
        "responses.with_streaming_response.create(stream=True)",
    ),
    *(
        Entry("OpenAI", f"AzureOpenAI: {path}()", _ways("AzureOpenAI", path, asked), seen)
        for path, asked, seen in (
            ("chat.completions.stream", {**_CHAT, **_USAGE}, ALL),
            ("chat.completions.create", _CHAT, PLAIN),
            ("completions.create", _TEXT, PLAIN),
            ("responses.stream", _RESPONSES, ALL),
        )
    ),
)

ANTHROPIC = (
    _anthropic("messages.create", {**_MESSAGES, **_STREAM}, "messages.create(stream=True)"),
    _anthropic("messages.stream", _MESSAGES, "messages.stream()"),
    _anthropic("messages.create", _MESSAGES, "messages.create()", PLAIN),
    _anthropic("messages.parse", _MESSAGES, "messages.parse()", PLAIN),
    _anthropic("beta.messages.create", {**_MESSAGES, **_STREAM}, "beta.messages.create(stream=True)"),
    _anthropic("beta.messages.stream", _MESSAGES, "beta.messages.stream()"),
    _anthropic("beta.messages.create", _MESSAGES, "beta.messages.create()", PLAIN),
    *(
        _anthropic(f"{path}.{form}.create", {**_MESSAGES, **_STREAM}, f"{path}.{form}.create(stream=True)")
        for path in ("messages", "beta.messages")
        for form in ("with_raw_response", "with_streaming_response")
    ),
    _anthropic("messages.with_raw_response.create", _MESSAGES, "messages.with_raw_response.create()", PLAIN),
    _anthropic(
        "messages.with_streaming_response.create", _MESSAGES, "messages.with_streaming_response.create()", _NOTHING
    ),
)
