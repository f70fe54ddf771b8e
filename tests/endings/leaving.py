"""The ways a caller leaves a stream, sync and async.

Each takes what opens the stream and ``seen``, which is given every chunk, and returns or raises
as a program would that left the stream this way.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Protocol

from tests.endings.entries import finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Open = Callable[[], Any]

    class Seen(Protocol):
        """Returns 2 for the last piece, at which callers leave."""

        requests: Callable[[], list[Any]]  # what the provider was asked so far

        def __call__(self, chunk: Any, /) -> int: ...


class CallersOwn(Exception):  # noqa: N818  # nobody's error but the caller's
    pass


# --- Sync ------------------------------------------------------------------------------------


def to_the_end(opened: Open, seen: Seen) -> None:
    for chunk in opened():
        seen(chunk)


def callers_exception(opened: Open, seen: Seen) -> None:
    for chunk in opened():
        if seen(chunk) == 2:
            raise CallersOwn


def break_and_drop(opened: Open, seen: Seen) -> None:
    for chunk in opened():
        if seen(chunk) == 2:
            break


def break_at_the_finish_reason(opened: Open, seen: Seen) -> None:
    for chunk in opened():
        seen(chunk)
        if finished(chunk):
            break


def break_and_close(opened: Open, seen: Seen) -> None:
    stream = opened()
    for chunk in stream:
        if seen(chunk) == 2:
            break
    stream.close()


def with_block(opened: Open, seen: Seen) -> None:
    with closing(opened()) as stream:
        for chunk in stream:
            if seen(chunk) == 2:
                raise CallersOwn


class Keeper:
    """Something that refers to itself, so that only the collector frees it."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept
        self.myself = self


def closed_by_the_collector(opened: Open, seen: Seen) -> None:
    def relay() -> Iterator[int]:
        for chunk in opened():
            yield seen(chunk)

    keeper = Keeper(relay())
    while next(keeper.kept) < 2:
        pass
    del keeper
    gc.collect()


# --- Async -----------------------------------------------------------------------------------


async def to_the_end_async(opened: Open, seen: Seen) -> None:
    async for chunk in await opened():
        seen(chunk)


async def callers_exception_async(opened: Open, seen: Seen) -> None:
    async for chunk in await opened():
        if seen(chunk) == 2:
            raise CallersOwn


async def break_and_drop_async(opened: Open, seen: Seen) -> None:
    async for chunk in await opened():
        if seen(chunk) == 2:
            break


async def break_at_the_finish_reason_async(opened: Open, seen: Seen) -> None:
    async for chunk in await opened():
        seen(chunk)
        if finished(chunk):
            break


async def break_and_close_async(opened: Open, seen: Seen) -> None:
    stream = await opened()
    async for chunk in stream:
        if seen(chunk) == 2:
            break
    await stream.aclose()


async def with_block_async(opened: Open, seen: Seen) -> None:
    async with aclosing(await opened()) as stream:
        async for chunk in stream:
            if seen(chunk) == 2:
                raise CallersOwn


async def closed_by_the_collector_async(opened: Open, seen: Seen) -> None:
    async def relay() -> AsyncIterator[int]:
        async for chunk in await opened():
            yield seen(chunk)

    keeper = Keeper(relay())
    while await anext(keeper.kept) < 2:
        pass
    del keeper
    gc.collect()
    await asyncio.sleep(0.01)  # the event loop closes what the collector found


async def time_out_of_the_callers(opened: Open, seen: Seen) -> None:
    await asyncio.wait_for(to_the_end_async(opened, seen), 0.4)


def cancelled(when: Callable[[Any, int], bool], waiting: Callable[[], Awaitable[Any]] | None = None) -> Any:
    """Cancel the reading task after the chunk for which ``when`` holds.

    The task is in its next read then, or in ``waiting`` of its own where that is given.
    """

    async def leave(opened: Open, seen: Seen) -> None:
        reached = asyncio.Event()

        async def read() -> None:
            stream = await opened()
            if when(None, 0):
                reached.set()
            async for chunk in stream:
                if when(chunk, seen(chunk)):
                    reached.set()
                    if waiting is not None:
                        await waiting()

        task = asyncio.create_task(read())
        if when(None, -1):
            await asyncio.sleep(0.05)  # in the call itself: the provider sends no headers
        else:
            # A router gives the stream only with its first chunk: what is cancelled then is the call.
            await asyncio.wait([asyncio.ensure_future(reached.wait())], timeout=2)
            while not seen.requests():  # a program that stands in between asks later
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
        task.cancel()
        await task

    return leave


async def _for_ever() -> None:
    await asyncio.Event().wait()


cancelled_in_the_call = cancelled(lambda _, count: count == -1)
cancelled_before_the_first_chunk = cancelled(lambda _, count: count == 0)
cancelled_in_mid_stream = cancelled(lambda _, count: count == 2)
cancelled_after_the_finish_reason = cancelled(lambda chunk, count: count > 0 and finished(chunk), _for_ever)
