"""DSPy: its own engine, and a program made to stream."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.endings.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import Script, ScriptedProvider
    from tests.endings.entries import Opener


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


def _streamified(engine: str) -> Opener:
    def opener(provider: ScriptedProvider, timeout: float) -> Callable[[], Any]:
        program = _program(engine, provider.base_url, timeout)

        async def opened() -> Any:
            return program(question="Why?")

        return opened

    return opener


@cache
def _program(engine: str, base_url: str, timeout: float) -> Callable[..., Any]:
    import dspy

    about = {"api_base": base_url, "api_key": "none", "timeout": timeout, "cache": False, "num_retries": 0}
    settings = {
        "lm": dspy.LM("openai/test", engine=engine, **about),
        # A failure is not asked for once more in another format.
        "adapter": dspy.ChatAdapter(use_json_adapter_fallback=False),
    }

    class Program(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer = dspy.Predict("question -> answer")

        async def aforward(self, **asked: str) -> Any:
            with dspy.context(**settings):
                return await self.answer.acall(**asked)

    return dspy.streamify(Program(), is_async_program=True)


def _with_the_field(script: Script) -> Script:
    """The pieces as the only output field of the program."""
    if not script.pieces:
        return script
    return replace(script, pieces=["[[ ## answer ## ]]\n", *script.pieces])


def _streamify(name: str, engine: str) -> Entry:
    return Entry(
        name,
        "streamify",
        True,
        _streamified(engine),
        closes=True,
        script=_with_the_field,
        relayed=True,
    )


DSPY = (
    Entry("DSPy's engine", "lm15", False, _lm15_sync, closes=True, usual=True),
    Entry("DSPy's engine, async", "lm15", True, _lm15_async, closes=True, usual=True),
    _streamify("streamify, async", "lm15"),
    _streamify("streamify over litellm, async", "litellm"),
)
