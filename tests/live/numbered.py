"""Many streams at once, each with a text of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import litellm

from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.demo.provider import ScriptedProvider


def script(pieces: int, gap: float = 0.0) -> Script:
    """Answer a number with that many pieces that tell it and their places."""

    def compose(asked: Mapping[str, Any]) -> list[str]:
        number = asked["messages"][-1]["content"]
        return [f"{number}.{place} é\n" for place in range(pieces)]

    return Script(pieces=compose, gap=gap)


def text(number: int, pieces: int) -> str:
    return "".join(f"{number}.{place} é\n" for place in range(pieces))


async def read(provider: ScriptedProvider, count: int, pieces: int, *, at_once: int = 50, gap: float = 0.0) -> set[str]:
    """Read so many streams and return the texts their caller got."""
    provider.scripts["numbered"] = script(pieces, gap)
    turns = asyncio.Semaphore(at_once)

    async def one(number: int) -> str:
        async with turns:
            stream = await litellm.acompletion(
                model="openai/numbered",
                messages=[{"role": "user", "content": str(number)}],
                api_base=provider.base_url,
                api_key="none",
                max_retries=0,
                stream=True,
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return set(await asyncio.gather(*(one(number) for number in range(count))))
