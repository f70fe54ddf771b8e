"""Streams of litellm chunks made beforehand, and loops that time what a wrapper adds to them.

Imports neither this package nor a peer, so that each can be measured in an environment of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time

from litellm.types.utils import Delta, ModelResponseStream, StreamingChoices

# The same few chunks again and again: a chunk that was just made is in the processor's cache.
REPEAT = 20

TEXT = "[[ ## reasoning ## ]]\n" + "one two three four five " * 200 + "\n\n[[ ## answer ## ]]\n" + "six seven " * 500


class Source:
    """A stream of prebuilt chunks, iterable both ways, like litellm's."""

    def __init__(self, chunks):
        *again, last = chunks
        self._chunks = itertools.chain(*itertools.repeat(again, REPEAT), (last,))

    def __iter__(self):
        return self

    def __next__(self):
        return next(self._chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None

    def close(self):
        pass


def chunks(count):
    pieces = [TEXT[i * 4 % len(TEXT) :][:4] for i in range(count)]
    made = [ModelResponseStream(choices=[StreamingChoices(index=0, delta=Delta(content=p))]) for p in pieces[:-1]]
    return [*made, ModelResponseStream(choices=[StreamingChoices(index=0, delta=Delta(), finish_reason="stop")])]


def drain(source):
    started = time.thread_time()
    for _ in source:
        pass
    return time.thread_time() - started


def adrain(source):
    async def run():
        started = time.thread_time()
        async for _ in source:
            pass
        return time.thread_time() - started

    return asyncio.run(run())


def compare(name, wrap, made, rounds, loop=drain):
    """Print what ``wrap`` adds to a read in us: rounds alternate between the bare stream and the wrapped one."""
    added = []
    for _ in range(rounds):
        bare = loop(Source(made))
        wrapped = loop(wrap(Source(made)))
        added.append((wrapped - bare) / (len(made) * REPEAT) * 1e6)
    print(f"{name:58s} {statistics.median(added):7.2f} us  (min {min(added):.2f}, max {max(added):.2f})", flush=True)
