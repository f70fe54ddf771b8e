"""Output in portions: a plain DSPy call, whose tokens are written ten at a time, and the rest at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import dspy
from connection import CONNECTION, MODEL

from otel_tokenstream import correlate, stream_fields, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_tokenstream import TokenEvent

PORTION = 10
REQUEST = "buffered"


async def portions(came: AsyncIterator[TokenEvent], size: int) -> AsyncIterator[str]:
    """Yield the texts of ``size`` tokens together; the last portion may have fewer."""
    waiting: list[str] = []
    async for token in came:
        waiting.append(token.text or "")
        if len(waiting) == size:
            yield "".join(waiting)
            waiting.clear()
    if waiting:
        yield "".join(waiting)


async def ask(question: str) -> str:
    """Nothing streams here: the program gets its prediction as ever."""
    program = dspy.ChainOfThought("question -> answer")
    with correlate(request_id=REQUEST), stream_fields(["answer"]):
        prediction = await program.acall(question=question)
    return str(prediction.answer)


async def main() -> None:
    dspy.configure(lm=dspy.LM(MODEL, cache=False, **CONNECTION))
    came = tokens(fields=["answer"], correlation={"request_id": REQUEST})
    answering = asyncio.create_task(ask("Why is the sky blue?"))
    written = []
    async for portion in portions(came.until(answering), PORTION):
        written.append(portion)
        print(f"{len(written):>3} | {portion.strip()}", flush=True)
    answer = await answering
    print(f"\n{len(written)} portions, together the answer: {''.join(written) == answer}")


asyncio.run(main())
