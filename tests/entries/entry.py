"""One way to ask a library's model, and what is seen of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

FACTS = CHUNKS, TEXT, USAGE, REASON, MODEL, ID = "chunks", "text", "usage", "reason", "model", "id"
ALL = frozenset(FACTS)
PLAIN = ALL - {CHUNKS}


@dataclass(frozen=True, eq=False)
class Entry:
    """``ways`` each take the provider and ask it once; what they return is read to its end.

    ``calls`` is how many calls of a model a way makes.
    """

    library: str
    name: str
    ways: tuple[Callable[[ScriptedProvider], Any], ...]
    seen: frozenset[str] = ALL
    calls: int = 1


async def drain(result: Any, *, awaited: bool = False) -> None:
    """Read whatever a library gives for an answer to its end, as programs do."""
    kind = type(result)
    if inspect.iscoroutine(result):
        await drain(await result, awaited=True)
    elif hasattr(kind, "__aiter__") and (awaited or not hasattr(kind, "__next__")):
        async for _ in result:
            pass
    elif hasattr(kind, "__next__"):
        for _ in result:
            pass
    elif hasattr(kind, "parse") and "http_response" in dir(result):  # a raw one
        await drain(result.parse(), awaited=awaited or inspect.iscoroutinefunction(kind.parse))
    elif hasattr(kind, "__aenter__") and not hasattr(kind, "__enter__"):
        async with result as given:
            await drain(given, awaited=True)
    elif hasattr(kind, "__enter__"):
        with result as given:
            await drain(given)
