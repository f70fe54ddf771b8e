"""An application made of DSPy modules. Nothing in it knows of telemetry.

DEMO_MODEL, DEMO_BASE_URL and DEMO_API_KEY say whom to ask.
"""
# ruff: noqa: T201 - what the models say is this program's output

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import dspy  # type: ignore[import-untyped]  # DSPy comes without types

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTION = {
    name: os.environ[variable]
    for name, variable in (("api_base", "DEMO_BASE_URL"), ("api_key", "DEMO_API_KEY"))
    if variable in os.environ
}

LETTER = "letter -> subject: Literal['praise', 'complaint', 'question'], reply: str"


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"In {city} it is 14 degrees with light rain."


def classify() -> None:
    result = dspy.Predict(LETTER)(letter="Why do streamed tokens sometimes stall in the middle of an answer?")
    print(f"{result.subject}: {result.reply}")


def reason() -> None:
    result = dspy.ChainOfThought("question -> answer, points: list[str]")(question="Why is the sky blue?")
    print(f"{result.reasoning}\n{result.answer}\n{result.points}")


def act() -> None:
    agent = dspy.ReAct("question -> answer", tools=[get_weather], max_iters=4)
    show(agent, ("next_thought", "answer"), "Is it raining in Bergen?")


def reason_aloud() -> None:
    show(dspy.ChainOfThought("question -> answer"), ("reasoning", "answer"), "Why does the sea have tides?")


def show(program: dspy.Module, fields: tuple[str, ...], question: str) -> None:
    """Print output fields while they are written."""
    listeners = [dspy.streaming.StreamListener(field, allow_reuse=True) for field in fields]
    streamed: Any = dspy.streamify(program, stream_listeners=listeners, async_streaming=False)
    for part in streamed(question=question):
        if isinstance(part, dspy.streaming.StatusMessage):
            print(f"({part.message})", flush=True)
        elif isinstance(part, dspy.streaming.StreamResponse):
            print(part.chunk, end="\n" if part.is_last_chunk else "", flush=True)


def try_it(title: str, step: Callable[[], None]) -> None:
    """A small model often misses the format an adapter asks for; the program goes on without that answer."""
    print(f"\n\n── DSPy: {title}", flush=True)
    try:
        step()
    except dspy.utils.exceptions.AdapterParseError as error:
        print(f"   the answer did not have the fields asked for: {str(error).splitlines()[0]}", flush=True)


def main() -> None:
    lm = dspy.LM(os.environ.get("DEMO_MODEL", "openai/human"), max_tokens=300, cache=False, **CONNECTION)
    dspy.configure(lm=lm)
    try_it("Predict", classify)
    try_it("ChainOfThought", reason)
    try_it("ReAct with a tool, its thoughts streamed", act)
    try_it("ChainOfThought, streamed", reason_aloud)


if __name__ == "__main__":
    main()
