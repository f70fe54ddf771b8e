"""litellm's functions and DSPy's programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.entries.entry import ALL, MODEL, PLAIN, Entry

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

_QUESTION = [{"role": "user", "content": "Why?"}]
_GPT = {"model": "openai/test"}
_STREAM: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
_CHAT: dict[str, Any] = {**_GPT, "messages": _QUESTION}
_TEXT: dict[str, Any] = {**_GPT, "prompt": "Why?"}
_RESPONSES: dict[str, Any] = {**_GPT, "input": "Why?"}
_CLAUDE: dict[str, Any] = {"model": "anthropic/test", "messages": _QUESTION, "max_tokens": 9}
_GEMINI: dict[str, Any] = {"model": "gemini/test", "contents": [{"role": "user", "parts": [{"text": "Why?"}]}]}


def _ways(*paths: str, **asked: Any) -> Any:
    def way(path: str) -> Any:
        def ask(provider: ScriptedProvider) -> Any:
            import litellm
            import litellm.google_genai

            found: Any = litellm
            for name in path.split("."):
                found = getattr(found, name)
            base = provider.address if asked["model"].startswith("anthropic/") else provider.base_url
            return found(api_base=base, api_key="none", **asked)

        return ask

    return tuple(way(path) for path in paths)


def _router(method: str, **asked: Any) -> Any:
    def ask(provider: ScriptedProvider) -> Any:
        import litellm

        where = {**_GPT, "api_base": provider.base_url, "api_key": "none"}
        routed = litellm.Router(model_list=[{"model_name": "group", "litellm_params": where}], num_retries=0)
        return getattr(routed, method)(**{**asked, "model": "group"})

    return ask


def _entry(name: str, ways: Any, seen: frozenset[str] = ALL) -> Entry:
    return Entry("litellm", name, ways, seen)


LITELLM = (
    _entry("completion(stream=True), acompletion()", _ways("completion", "acompletion", **_CHAT, **_STREAM)),
    _entry("completion(), acompletion()", _ways("completion", "acompletion", **_CHAT), PLAIN),
    _entry(
        "text_completion(stream=True)", _ways("text_completion", "atext_completion", **_TEXT, **_STREAM), ALL - {MODEL}
    ),
    _entry("text_completion()", _ways("text_completion", "atext_completion", **_TEXT), PLAIN),
    _entry("responses(stream=True)", _ways("responses", "aresponses", **_RESPONSES, stream=True)),
    _entry("responses()", _ways("responses", "aresponses", **_RESPONSES), PLAIN),
    _entry("anthropic.messages.acreate(stream=True)", _ways("anthropic.messages.acreate", **_CLAUDE, stream=True)),
    _entry("anthropic.messages.acreate()", _ways("anthropic.messages.acreate", **_CLAUDE), PLAIN),
    _entry(
        "google_genai.generate_content_stream()",
        _ways("google_genai.generate_content_stream", "google_genai.agenerate_content_stream", **_GEMINI),
    ),
    _entry(
        "Router.completion(stream=True)",
        (_router("completion", **_CHAT, **_STREAM), _router("acompletion", **_CHAT, **_STREAM)),
    ),
    _entry("Router.completion()", (_router("completion", **_CHAT), _router("acompletion", **_CHAT)), PLAIN),
)
