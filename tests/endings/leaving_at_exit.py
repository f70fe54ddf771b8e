"""A program that exits with streams of its libraries open: python -m tests.endings.leaving_at_exit WAY ADDRESS."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.endings.leaving import Keeper
from tests.endings.litellm_ways import is_available
from tests.endings.table import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 600.0
# With streams of all entries open litellm itself takes minutes to exit.
NAMES = ["litellm", "responses", "DSPy's engine"]
CHOSEN = [entry for entry in ENTRIES if entry.name.removesuffix(", async") in NAMES]
SYNC = [entry for entry in CHOSEN if not entry.is_async and is_available(entry)]
ASYNC = [entry for entry in CHOSEN if entry.is_async and is_available(entry)]

kept: list[Any] = []


def opened(address: str) -> list[Any]:
    """A stream by each sync entry, one chunk read."""
    streams = [iter(entry.opener(provider(address), PATIENCE)()) for entry in SYNC]
    for stream in streams:
        next(stream)
    return streams


def provider(address: str) -> Any:
    return SimpleNamespace(address=address, base_url=f"{address}/v1")


def held_by_the_module(address: str) -> None:
    kept.extend(opened(address))


def held_by_cycles(address: str) -> None:
    gc.disable()
    for stream in opened(address):
        Keeper(stream)


def read_by_daemon_threads(address: str) -> None:
    for stream in opened(address):
        threading.Thread(target=list, args=(stream,), daemon=True).start()


def inside_the_loop(address: str, left: int = len(SYNC)) -> None:
    if not left:
        raise SystemExit
    for _ in SYNC[left - 1].opener(provider(address), PATIENCE)():
        inside_the_loop(address, left - 1)


async def _reading(address: str) -> None:
    """Tasks that read a stream of each async entry, once each has a chunk."""

    async def read(entry: Any, begun: asyncio.Event) -> None:
        async for _ in await entry.opener(provider(address), PATIENCE)():
            begun.set()

    begun = [asyncio.Event() for _ in ASYNC]
    kept.extend(asyncio.create_task(read(*each)) for each in zip(ASYNC, begun, strict=True))
    await asyncio.gather(*(event.wait() for event in begun))


def by_tasks_that_the_loop_cancels(address: str) -> None:
    asyncio.run(_reading(address))


def by_tasks_that_nobody_ends(address: str) -> None:
    loop = asyncio.new_event_loop()
    kept.append(loop)
    loop.run_until_complete(_reading(address))


# How the program leaves: the entries whose streams it leaves open, and how they end.
WAYS: dict[str, tuple[Callable[[str], None], list[Any], str]] = {
    "held by the module": (held_by_the_module, SYNC, "abandoned"),
    "held by cycles": (held_by_cycles, SYNC, "abandoned"),
    "read by daemon threads": (read_by_daemon_threads, SYNC, "abandoned"),
    "SystemExit inside the loop": (inside_the_loop, SYNC, "abandoned"),
    "tasks that the loop cancels": (by_tasks_that_the_loop_cancels, ASYNC, "cancelled"),
    "tasks that nobody ends": (by_tasks_that_nobody_ends, ASYNC, "abandoned"),
}

if __name__ == "__main__":
    WAYS[sys.argv[1]][0](sys.argv[2])
