"""Several models at once, each streamed and in one piece, with their figures side by side.

DEMO_MODELS lists the models, with commas between them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import litellm
from connection import CONNECTION, MODELS, STREAMED

from otel_tokenstream import TokenCollector, correlate

QUESTION = "Why does the sea have tides?"


async def ask(model: str, *, streamed: bool) -> Any:
    """Return the last event of a call, which has its figures."""
    request: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": QUESTION}], **CONNECTION}
    about = f"{model} {'streamed' if streamed else 'whole'}"
    # Others are asked at the same time: what is correlated tells this call from theirs.
    with correlate(request_id=about), TokenCollector(correlation={"request_id": about}) as collected:
        if streamed:
            async for _ in await litellm.acompletion(**request, **STREAMED):
                pass
        else:
            await litellm.acompletion(**request)
    return collected.events[-1]


def seconds(microseconds: int | None) -> str:
    return "-" if microseconds is None else f"{microseconds / 1e6:.2f} s"


def row(model: str, streamed: Any, whole: Any) -> str:
    first, tokens = streamed.first_token_us, streamed.output_tokens
    rate = sooner = "-"
    if first is not None:
        sooner = f"{whole.duration_us / first:.1f} x"
        if tokens:
            rate = f"{tokens / (streamed.duration_us - first) * 1e6:.0f} /s"
    figures = [seconds(first), seconds(streamed.duration_us), str(streamed.chunks), str(tokens or "-"), rate]
    return LINE.format(model, *figures, seconds(whole.duration_us), sooner)


LINE = "{:<24}{:>12}{:>10}{:>8}{:>8}{:>8}{:>10}{:>8}"


async def main() -> None:
    # What litellm loads for its first call is no model's time.
    await litellm.acompletion(MODELS[0], [{"role": "user", "content": "Hello"}], max_tokens=1, **CONNECTION)
    print(f"{QUESTION}  Asked of {len(MODELS)} at once, each twice.\n")
    calls = [ask(model, streamed=streamed) for model in MODELS for streamed in (True, False)]
    ends = await asyncio.gather(*calls)
    print(LINE.format("model", "first token", "streamed", "chunks", "tokens", "rate", "whole", "sooner"))
    for model, streamed, whole in zip(MODELS, ends[::2], ends[1::2], strict=True):
        print(row(model, streamed, whole))
    print("\nsooner: how many times earlier something can be read when it is streamed")


asyncio.run(main())
