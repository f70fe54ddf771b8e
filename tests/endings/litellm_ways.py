"""litellm's functions that stream. Some are to be had only with its proxy extra."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tests.endings.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import Script, ScriptedProvider
    from tests.endings.entries import Opener

QUESTION = [{"role": "user", "content": "Why?"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Why?"}]}]
GPT, CLAUDE, GEMINI = "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"  # models litellm knows to have the API


def _opener(path: str, /, **asked: Any) -> Opener:
    """Open by a function of litellm, found at each call as a program finds it; ``path`` is under ``litellm``."""

    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        # Anthropic's own client adds the version to the path by itself.
        base = provider.address if asked["model"].startswith("anthropic/") else provider.base_url
        arguments = {"api_base": base, "api_key": "none", "timeout": timeout, **asked}

        def opened() -> Any:
            import litellm
            import litellm.google_genai

            found: Any = litellm
            for name in path.split("."):
                found = getattr(found, name)
            return found(**arguments)

        return opened

    return opener


def _chat(path: str, model: str = "openai/test") -> Opener:
    return _opener(path, model=model, messages=QUESTION, max_retries=0, stream=True)


def _client(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    import litellm

    client = litellm.LiteLLM(api_key="none", base_url=provider.base_url, timeout=timeout, max_retries=0)
    return lambda: client.chat.completions.create(model="openai/test", messages=QUESTION, stream=True)


@cache
def _router(base_url: str, timeout: float, model: str) -> Any:
    """A router, made once as in programs; here before the library is instrumented."""
    import litellm

    where = {"api_base": base_url, "api_key": "none", "timeout": timeout, "max_retries": 0}
    deployments = [{"model_name": "group", "litellm_params": {"model": model, **where}}]
    return litellm.Router(model_list=deployments, num_retries=0, disable_cooldowns=True)


def _routed(name: str, model: str = "openai/test", **asked: Any) -> Opener:
    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        base = provider.address if model.startswith("anthropic/") else provider.base_url
        router = _router(base, timeout, model)
        return lambda: getattr(router, name)(model="group", **asked)

    return opener


def _one_by_one(script: Script) -> Script:
    """Bytes are handed on as they come: far enough apart that each write is a chunk.

    A broken reader does not come to an error that has been joined to what is before it.
    """
    return replace(script, gap=0.2 if script.ending == "error_frame" else 0.02)


def _bytes(name: str, library: str, is_async: bool, opener: Opener, **more: Any) -> Entry:
    return Entry(name, library, is_async, opener, script=_one_by_one, **more)


def _natively(opener: Opener) -> Opener:
    def natively(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        found = opener(provider, timeout)

        async def opened() -> Any:
            import litellm

            litellm.rust(True)  # of the whole process
            try:
                return await found()
            finally:
                litellm.rust(None)

        return opened

    return natively


_CLAUDE, _GEMINI = f"anthropic/{CLAUDE}", f"gemini/{GEMINI}"
_MESSAGES = {"messages": QUESTION, "max_tokens": 9, "stream": True}
_STREAMS = "google_genai.generate_content_stream"
_ASTREAMS = "google_genai.agenerate_content_stream"
_TEXT = {"model": "openai/test", "prompt": "Why?", "max_retries": 0, "stream": True}

_CHAT = {"messages": QUESTION, "stream": True}
_RESPONSES = {"input": "Why?", "stream": True}

CHAT = (
    Entry("litellm", "litellm", False, _chat("completion"), closes=False, usual=True),
    Entry("litellm, async", "litellm", True, _chat("acompletion"), closes=True, usual=True),
    Entry("LiteLLM()", "litellm", False, _client, closes=False),
    Entry("Router", "litellm", False, _routed("completion", **_CHAT), closes=False),
    Entry("Router, async", "litellm", True, _routed("acompletion", **_CHAT), closes=True),
    Entry("litellm to Anthropic", "anthropic", False, _chat("completion", _CLAUDE), closes=False, model=CLAUDE),
    Entry("litellm to Anthropic, async", "anthropic", True, _chat("acompletion", _CLAUDE), closes=True, model=CLAUDE),
    Entry(
        "litellm to Gemini, async",
        "gemini",
        True,
        _chat("acompletion", _GEMINI),
        closes=True,
        model=GEMINI,
        times_out=False,
    ),
    Entry("text_completion", "text", False, _opener("text_completion", **_TEXT), closes=False),
    Entry("text_completion, async", "text", True, _opener("atext_completion", **_TEXT), closes=False),
    Entry(
        "Router text_completion, async",
        "text",
        True,
        _routed("atext_completion", prompt="Why?", stream=True),
        closes=False,
    ),
)


def _relayed(name: str) -> Opener:
    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        body = {"model": "test", "messages": QUESTION, "stream": True}
        asked = {"method": "POST", "endpoint": "chat/completions", "custom_llm_provider": "vllm", "json": body}
        return _opener(name, model="test", **asked)(provider, timeout)

    return opener


def _responses(name: str, model: str) -> Opener:
    return _opener(name, model=model, input="Why?", max_retries=0, stream=True)


OTHERS = (
    Entry("responses", "responses", False, _responses("responses", f"openai/{GPT}"), closes=False, model=GPT),
    Entry("responses, async", "responses", True, _responses("aresponses", f"openai/{GPT}"), closes=False, model=GPT),
    Entry("responses over chat", "responses-chat", False, _responses("responses", "groq/test"), closes=False),
    Entry("responses over chat, async", "responses-chat", True, _responses("aresponses", "groq/test"), closes=False),
    _bytes(
        "messages, async",
        "messages",
        True,
        _opener("anthropic.messages.acreate", model=f"anthropic/{CLAUDE}", **_MESSAGES),
        closes=True,
        model=CLAUDE,
    ),
    _bytes(
        "messages by native code, async",
        "messages",
        True,
        _natively(_opener("anthropic.messages.acreate", model=f"anthropic/{CLAUDE}", **_MESSAGES)),
        closes=True,
        model=CLAUDE,
        native=True,
        crashes=(
            "the caller's exception in the loop",
        ),  # litellm 1.110.2: a segmentation fault, if not at once then later
    ),
    _bytes(
        "messages over chat",
        "messages-chat",
        False,
        _opener("anthropic.messages.create", model="groq/test", **_MESSAGES),
        closes=True,
        ends_well=True,
        error_type="incomplete",
    ),
    _bytes(
        "messages over chat, async",
        "messages-chat",
        True,
        _opener("anthropic.messages.acreate", model="groq/test", **_MESSAGES),
        closes=True,
        error_type="api_error",
    ),
    _bytes(
        "generate_content",
        "google",
        False,
        _opener(_STREAMS, model=f"gemini/{GEMINI}", contents=CONTENTS),
        closes=False,
        model=GEMINI,
    ),
    _bytes(
        "generate_content, async",
        "google",
        True,
        _opener(_ASTREAMS, model=f"gemini/{GEMINI}", contents=CONTENTS),
        closes=False,
        model=GEMINI,
    ),
    _bytes(
        "generate_content over chat, async",
        "google-chat",
        True,
        _opener(_ASTREAMS, model="groq/test", contents=CONTENTS),
        closes=True,
        times_out=False,
    ),
    Entry(
        "Router responses",
        "responses",
        False,
        _routed("responses", f"openai/{GPT}", **_RESPONSES),
        closes=False,
        model=GPT,
    ),
    Entry(
        "Router responses, async",
        "responses",
        True,
        _routed("aresponses", f"openai/{GPT}", **_RESPONSES),
        closes=True,
        model=GPT,
    ),
    _bytes(
        "Router messages, async",
        "messages",
        True,
        _routed("anthropic_messages", _CLAUDE, **_MESSAGES),
        closes=True,
        model=CLAUDE,
    ),
    _bytes(
        "Router messages by native code, async",
        "messages",
        True,
        _natively(_routed("anthropic_messages", _CLAUDE, **_MESSAGES)),
        closes=True,
        model=CLAUDE,
        native=True,
    ),
    _bytes(
        "Router generate_content",
        "google",
        False,
        _routed("generate_content_stream", _GEMINI, contents=CONTENTS),
        closes=False,
        model=GEMINI,
    ),
    _bytes(
        "Router generate_content, async",
        "google",
        True,
        _routed("agenerate_content_stream", _GEMINI, contents=CONTENTS),
        closes=False,
        model=GEMINI,
    ),
    _bytes("pass-through", "relayed", False, _relayed("llm_passthrough_route"), closes=True),
    _bytes("pass-through, async", "relayed", True, _relayed("allm_passthrough_route"), closes=True),
)
_WITH_PROXY = find_spec("mcp") is not None and find_spec("fastapi") is not None


def is_available(entry: Entry) -> bool:
    """Whether this litellm has it: some functions need the proxy extra, and native code is new.

    lionpride asks for Python 3.11.
    """
    import litellm

    if entry.library.startswith("lion") and find_spec(entry.library) is None:
        return False
    return entry not in OTHERS or (_WITH_PROXY and (not entry.native or hasattr(litellm, "rust")))
