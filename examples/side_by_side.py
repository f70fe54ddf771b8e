"""The same question to several models at once, by LangChain, with their answers side by side while they come.

DEMO_MODELS lists the models, with commas between them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from connection import CONNECTION, MODELS
from langchain_core.runnables import RunnableParallel
from langchain_litellm import ChatLiteLLM
from rich.console import Console
from rich.live import Live
from rich.table import Table

from otel_tokenstream import TokenCollector

QUESTION = "Why does the sea have tides?"
console = Console()


def beside(answers: dict[str, str], ends: dict[str, Any]) -> Table:
    """Return a column for each model: its answer so far, and its figures once it has ended."""
    table = Table(*answers, expand=True)
    table.add_row(*answers.values())
    table.add_section()
    table.add_row(*(figures(ends.get(model)) for model in answers))
    return table


def figures(end: Any) -> str:
    if end is None:
        return "…"
    first = "no token" if end.first_token_us is None else f"first token after {end.first_token_us / 1e6:.2f} s"
    return f"{end.outcome}, {first}, {end.chunks} chunks in {end.duration_us / 1e6:.2f} s"


async def main() -> None:
    print(f"{QUESTION}  Asked of {len(MODELS)} at once.\n")
    asked = {model: ChatLiteLLM(model=model, streaming=True, **CONNECTION) for model in MODELS}
    answers = dict.fromkeys(MODELS, "")
    # Words come from LangChain; the collector has the times, by the model's name.
    with TokenCollector() as collected, Live(beside(answers, {}), console=console, auto_refresh=False) as live:
        async for chunk in RunnableParallel(asked).astream(QUESTION):
            for model, message in chunk.items():
                answers[model] += message.text
            live.update(beside(answers, ends_of(collected)), refresh=console.is_terminal)
        live.update(beside(answers, ends_of(collected)), refresh=True)


def ends_of(collected: TokenCollector) -> dict[str, Any]:
    ends = {event.model: event for event in collected.events if event.type == "end"}
    return {model: ends.get(model) or ends.get(model.rpartition("/")[2]) for model in MODELS}


asyncio.run(main())
