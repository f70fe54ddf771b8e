"""Calls of a program, for tests of what is seen live."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dspy
import litellm

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.live.events import EndEvent, TokenEvent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.live.events import Event

LETTERS = Script(pieces=list("abcdefgh"), gap=0.002)
QUESTION = "Why are there tides?"


def arguments(provider: ScriptedProvider, script: Script = LETTERS, model: str = "test") -> dict[str, Any]:
    provider.scripts[model] = script
    return {
        "model": f"openai/{model}",
        "messages": [{"role": "user", "content": QUESTION}],
        "api_base": provider.base_url,
        "api_key": "none",
        "max_retries": 0,
        "stream": True,
    }


def streamed(provider: ScriptedProvider, script: Script = LETTERS, model: str = "test") -> list[Any]:
    return list(litellm.completion(**arguments(provider, script, model)))


async def astreamed(provider: ScriptedProvider, script: Script = LETTERS, model: str = "test") -> list[Any]:
    return [chunk async for chunk in await litellm.acompletion(**arguments(provider, script, model))]


def program(provider: ScriptedProvider, engine: str = "lm15", fields: Iterable[str] = ("answer",)) -> Any:
    """A streamed DSPy program; called with a question it returns the prediction."""
    provider.scripts["program"] = Script(gap=0)
    about: dict[str, Any] = {"engine": "litellm"} if engine == "litellm" else {}
    lm = dspy.LM("openai/program", api_base=provider.base_url, api_key="none", cache=False, num_retries=0, **about)
    thought = dspy.ChainOfThought("question -> answer")
    thought.set_lm(lm)
    listeners = [dspy.streaming.StreamListener(field, allow_reuse=True) for field in fields]
    return dspy.streamify(thought, stream_listeners=listeners, async_streaming=False)


class Seen:
    """A callback and a sink that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self.ended = threading.Event()
        self.closed = 0

    def __call__(self, event: Event) -> None:
        self.threads.add(threading.current_thread().name)
        self.events.append(event)
        if isinstance(event, EndEvent):
            self.ended.set()

    handle = __call__

    def close(self) -> None:
        self.closed += 1

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def tokens(self) -> list[TokenEvent]:
        return [event for event in self.events if isinstance(event, TokenEvent)]

    @property
    def text(self) -> str:
        return "".join(token.text or "" for token in self.tokens)

    @property
    def end(self) -> EndEvent:
        (end,) = (event for event in self.events if isinstance(event, EndEvent))
        return end
