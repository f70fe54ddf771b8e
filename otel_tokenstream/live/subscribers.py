"""Subscribers in the program itself: callbacks, sync and async, and an iterator of tokens.

They get text, because nothing leaves the process; it goes through the redaction hook all the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, overload

from otel_tokenstream.core.call import user_code
from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.live.event_queue import EventQueue, Wanted
from otel_tokenstream.live.events import Event, TokenEvent
from otel_tokenstream.live.sink import CAPACITY, Attachment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping
    from types import TracebackType

    from typing_extensions import Self


@overload
def subscribe(  # type: ignore[overload-overlap]  # a coroutine function is a function too
    callback: Callable[[Event], Awaitable[object]],
    *,
    fields: Collection[str] | None = ...,
    operation: str | None = ...,
    correlation: Mapping[str, str] | None = ...,
    types: Collection[str] | None = ...,
    text: bool = ...,
    capacity: int = ...,
) -> AsyncSubscription: ...


@overload
def subscribe(
    callback: Callable[[Event], object],
    *,
    fields: Collection[str] | None = ...,
    operation: str | None = ...,
    correlation: Mapping[str, str] | None = ...,
    types: Collection[str] | None = ...,
    text: bool = ...,
    capacity: int = ...,
) -> Attachment: ...


def subscribe(
    callback: Callable[[Event], Any],
    *,
    fields: Collection[str] | None = None,
    operation: str | None = None,
    correlation: Mapping[str, str] | None = None,
    types: Collection[str] | None = None,
    text: bool = True,
    capacity: int = CAPACITY,
) -> Attachment | AsyncSubscription:
    """Call a function with every event of the calls that start from now on, one at a time and in order.

    A plain function is called on a thread of its own, a coroutine function on the event loop
    that runs now. Close what is returned, or use it as a context manager. For ``fields``,
    ``operation``, ``correlation``, ``types`` and ``capacity`` see ``attach``.

    Raises:
        RuntimeError: the callback is a coroutine function and no event loop runs.

    """
    wanted = Wanted.of(fields=fields, operation=operation, correlation=correlation, types=types)
    queue = EventQueue(wanted, "subscriber", text=text, capacity=capacity)
    if iscoroutinefunction(callback) or iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004  # an object with an async __call__
        return AsyncSubscription(callback, queue)
    return Attachment(_Callback(callback), queue)


def tokens(
    *,
    fields: Collection[str] | None = None,
    operation: str | None = None,
    correlation: Mapping[str, str] | None = None,
    text: bool = True,
    capacity: int = CAPACITY,
) -> Tokens:
    """Iterate over the tokens of the calls that start from now on.

        answering = asyncio.create_task(program.acall(question=question))
        async for token in tokens(fields=["answer"]).until(answering):
            await websocket.send_text(token.text)

    Ends when it is closed. In a server give a ``correlation``, or one request gets the tokens
    of all. Where the call is made in another thread, make this first.

    Raises:
        RuntimeError: no event loop runs.

    """
    wanted = Wanted.of(fields=fields, operation=operation, correlation=correlation, types=("token",))
    return Tokens(EventQueue(wanted, "tokens", text=text, capacity=capacity))


class _Callback:
    """A sink that is a function."""

    def __init__(self, callback: Callable[[Event], object]) -> None:
        self._callback = callback

    def handle(self, event: Event) -> None:
        self._callback(event)

    def close(self) -> None:
        pass


class _LoopWaker:
    """Wakes its event loop from any thread when there is something to read.

    It knows the queue and not its reader, so that a reader nobody holds any more can go.
    """

    def __init__(self, queue: EventQueue) -> None:
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            message = "no event loop runs here: subscribe inside a coroutine, or give a plain function as callback"
            raise RuntimeError(message) from None
        self._queue = queue
        self._rung = asyncio.Event()
        self._notified = False

    def notify(self) -> None:
        if self._notified:
            return
        self._notified = True
        try:
            self.loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:  # the loop has ended, and whoever wanted to know with it
            self._queue.shut()

    async def wait(self) -> None:
        await self._rung.wait()
        self._rung.clear()
        self._notified = False  # before the queue is read: events from now on notify again

    def flush(self, within: float) -> bool:
        del within  # this may be the loop's own thread, where waiting would be for ever
        return True

    def close(self, within: float = 0) -> bool:
        del within  # as above
        if not self._queue.closed:
            self._queue.shut()
            self.notify()
        return True

    def forked(self) -> None:
        self._queue.shut()  # the child has not the parent's loop


class AsyncSubscription:
    """A coroutine function that is called with events. Use it as an async context manager, or close it."""

    def __init__(self, callback: Callable[[Event], Awaitable[object]], queue: EventQueue) -> None:
        self._callback = callback
        self._queue = queue
        self._waker = _LoopWaker(queue)
        self._task = self._waker.loop.create_task(self._run())
        queue.open(self._waker)

    @property
    def dropped(self) -> int:
        """Events lost so far: the callback was too slow for them, or failed on them."""
        return self._queue.dropped

    def close(self) -> None:
        """Take no more events; the callback still gets those taken, if the loop goes on."""
        self._waker.close()

    async def aclose(self) -> None:
        """Take no more events, and wait until the callback has had those taken."""
        self._waker.close()
        if self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        user_code.suppress()
        try:
            closed = False
            while not closed:
                await self._waker.wait()
                closed = self._queue.closed  # before reading: what was put before the end is read
                for event in self._queue.read():
                    await self._hand_over(event)
        finally:
            self._waker.close()

    async def _hand_over(self, event: Event) -> None:
        try:
            await self._callback(event)
        except asyncio.CancelledError as problem:
            if _is_cancelled(self._task):
                raise
            self._lose(problem)
        except (Exception, SystemExit) as problem:  # noqa: BLE001  # costs this event and no other
            self._lose(problem)

    def _lose(self, problem: BaseException) -> None:
        fault("a live subscriber", problem)
        self._queue.lose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _is_cancelled(task: asyncio.Task[None]) -> bool:
    """Return whether it is the task itself, and not something that it waits for."""
    cancelling = getattr(task, "cancelling", None)  # Python 3.11
    return cancelling is None or cancelling() > 0


class Tokens:
    """Tokens while they come. They are taken from the moment this is made, not from the first ``async for``."""

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._waker = _LoopWaker(queue)
        self._ready: deque[Event] = deque()
        queue.open(self._waker)
        queue.shut_with(self)

    def until(self, done: asyncio.Future[Any]) -> Self:
        """End when a task or future is done, after all that came before."""
        waker = self._waker
        done.add_done_callback(lambda _: waker.close())
        return self

    @property
    def dropped(self) -> int:
        """Tokens lost so far because they were not read in time."""
        return self._queue.dropped

    def close(self) -> None:
        """Take no more tokens; those that came can still be read."""
        self._waker.close()

    async def aclose(self) -> None:
        self._waker.close()

    def __aiter__(self) -> Tokens:
        return self

    async def __anext__(self) -> TokenEvent:
        while True:
            closed = self._queue.closed  # before reading: what was put before the end is read
            self._ready.extend(self._queue.read())
            if self._ready:
                token = self._ready.popleft()
                if isinstance(token, TokenEvent):
                    return token
            elif closed:
                raise StopAsyncIteration
            else:
                await self._waker.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
