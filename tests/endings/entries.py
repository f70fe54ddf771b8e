"""The ways into a stream: each library, sync and async, with what its chunks say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

TIMEOUT = 0.15  # seconds a read may last in the endings that time out


@dataclass(frozen=True)
class Entry:
    """``opener`` takes a provider and a read time-out; what it returns opens a stream, as a coroutine if async."""

    name: str
    library: str
    is_async: bool
    opener: Callable[[ScriptedProvider, float], Callable[[], Any]]
    closes: bool
    """Whether the library's stream has close() or aclose() at all."""


def said(chunk: Any) -> Any:
    """What a chunk says, without what differs from one answer to the next."""
    if hasattr(chunk, "model_dump"):
        return type(chunk).__name__, chunk.model_dump(exclude={"id", "created"})
    return type(chunk).__name__, str(getattr(chunk, "delta", None)), getattr(chunk, "finish_reason", None)


def finished(chunk: Any) -> bool:
    """Whether a chunk brings the finish reason."""
    choices = getattr(chunk, "choices", None)
    return bool(choices[0].finish_reason if choices else getattr(chunk, "finish_reason", None))


def _litellm(provider: ScriptedProvider, timeout: float) -> dict[str, Any]:
    return {
        "model": "openai/test",
        "messages": [{"role": "user", "content": "Why?"}],
        "api_base": provider.base_url,
        "api_key": "none",
        "max_retries": 0,
        "timeout": timeout,
        "stream": True,
    }


def _litellm_sync(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    import litellm

    return lambda: litellm.completion(**_litellm(provider, timeout))


def _litellm_async(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    import litellm

    return lambda: litellm.acompletion(**_litellm(provider, timeout))


@cache
def _lm15(engine: str, base_url: str, timeout: float) -> tuple[Any, Any]:
    """An engine, kept because it loads the machine's certificates, and a request for it."""
    from dspy._vendor.lm15 import Timeouts
    from dspy._vendor.lm15.router import RouterConfig
    from dspy._vendor.lm15.types import Message, Request
    from dspy.clients.engines import lm15_engine

    config = RouterConfig(
        env={},
        api_keys={"openai-chat": "none"},
        base_urls={"openai-chat": base_url},
        timeouts=Timeouts(read=timeout),
    )
    return getattr(lm15_engine, engine)(config), Request("openai/test", (Message.user("Why?"),))


def _lm15_sync(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    engine, request = _lm15("LM15Engine", provider.base_url, timeout)
    return lambda: engine.stream(request)


def _lm15_async(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
    engine, request = _lm15("AsyncLM15Engine", provider.base_url, timeout)

    async def opened() -> Any:
        return engine.stream(request)

    return opened


ENTRIES = (
    Entry("litellm", "litellm", False, _litellm_sync, closes=False),
    Entry("litellm, async", "litellm", True, _litellm_async, closes=True),
    Entry("DSPy's engine", "lm15", False, _lm15_sync, closes=True),
    Entry("DSPy's engine, async", "lm15", True, _lm15_async, closes=True),
)
