"""An application that streams answers through litellm, as many do. Nothing in it knows of telemetry.

DEMO_MODEL, DEMO_BASE_URL and DEMO_API_KEY say whom to ask; with DEMO_TROUBLE=1 it also asks the
scripted provider's models that stall, break off and fail.
"""
# ruff: noqa: T201 - what the models say is this program's output

from __future__ import annotations

import asyncio
import os
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import litellm

if TYPE_CHECKING:
    from collections.abc import Iterable

MODEL = os.environ.get("DEMO_MODEL", "openai/human")
CONNECTION = {
    name: os.environ[variable]
    for name, variable in (("api_base", "DEMO_BASE_URL"), ("api_key", "DEMO_API_KEY"))
    if variable in os.environ
}
STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


def request(question: str, model: str = MODEL, max_tokens: int = 180) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "max_tokens": max_tokens, "timeout": 120, **CONNECTION}


def text_of(chunk: Any) -> str:
    """Return a chunk's text: answer, reasoning or the arguments of a tool call."""
    if not chunk.choices:
        return ""
    delta = chunk.choices[0].delta
    calls = getattr(delta, "tool_calls", None) or ()
    said = [delta.content, getattr(delta, "reasoning_content", None)]
    said += [part for call in calls for part in (call.function.name, call.function.arguments)]
    return "".join(part for part in said if part)


def heading(title: str) -> None:
    print(f"\n\n── litellm: {title}", flush=True)


def show(chunks: Iterable[Any], seconds_per_chunk: float = 0.0) -> None:
    for chunk in chunks:
        print(text_of(chunk), end="", flush=True)
        time.sleep(seconds_per_chunk)


async def show_in_lines(label: str, question: str, model: str = MODEL) -> None:
    """Several streams share the terminal, so each prints whole lines under its name."""
    line = ""
    async for chunk in await litellm.acompletion(**request(question, model), **STREAMED):
        line += text_of(chunk).replace("\n", " ")
        if len(line) >= 72:
            print(f"[{label}] {line.strip()}", flush=True)
            line = ""
    print(f"[{label}] {line.strip()}", flush=True)


async def several_at_once(models: list[str]) -> None:
    questions = ("Why is the sky blue?", "What does a dancing bee tell the hive?", "Why do bridges have gaps?")
    asked = enumerate(zip(questions, models, strict=True), start=1)
    await asyncio.gather(*(show_in_lines(f"{number} {model}", question, model) for number, (question, model) in asked))


async def stop_early(question: str) -> None:
    """The reader has seen enough after some words, and the program closes the stream."""
    chunks: Any = await litellm.acompletion(**request(question), **STREAMED)
    async with aclosing(chunks):
        left = 20
        async for chunk in chunks:
            print(text_of(chunk), end="", flush=True)
            left -= 1
            if not left:
                break
    print(" … enough.", end="")


def try_it(question: str, model: str) -> None:
    try:
        show(litellm.completion(**request(question, model), **STREAMED))
    except Exception as error:  # noqa: BLE001 - which class it is depends on where the provider broke off
        print(f"\n   it failed: {type(error).__name__}", end="", flush=True)


def trouble() -> None:
    heading("a stream that stalls")
    show(litellm.completion(**request("Why do bridges have gaps?", "openai/stall"), **STREAMED))
    heading("a stream that breaks off")
    try_it("How does sourdough bread rise?", "openai/cut")
    heading("a provider that is overloaded")
    try_it("How does a lighthouse work?", "openai/error")
    heading("a tool call")
    show(litellm.completion(**request("Is it raining in Bergen?", "openai/tools"), **STREAMED))


def main() -> None:
    litellm.suppress_debug_info = True
    troubled = os.environ.get("DEMO_TROUBLE") == "1"
    heading("one stream")
    show(litellm.completion(**request("Why does the sea have tides?"), **STREAMED))
    heading("three streams at once")
    asyncio.run(several_at_once([MODEL, "openai/thinking", "openai/slow-start"] if troubled else [MODEL] * 3))
    heading("a slow reader")
    show(litellm.completion(**request("How did the printing press change books?", max_tokens=60), **STREAMED), 0.06)
    heading("a reader who stops early")
    asyncio.run(stop_early("How does a lighthouse work?"))
    heading("an answer in one piece")
    answer: Any = litellm.completion(**request("Why do streamed tokens stall?", max_tokens=40))
    print(answer.choices[0].message.content, end="")
    if troubled:
        trouble()
    print()


if __name__ == "__main__":
    main()
