"""Subscribers in the program itself: callbacks, sync and async, and an iterator of tokens.

They get text, because nothing leaves the process; it goes through the redaction hook all the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, overload

from otel_tokenstream.core.guard import fault
from otel_tokenstream.live.events import Event, TokenEvent
from otel_tokenstream.live.inbox import Inbox, Wanted
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
    inbox = Inbox(wanted, "subscriber", text=text, capacity=capacity)
    if iscoroutinefunction(callback) or iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004  # an object with an async __call__
        return AsyncSubscription(callback, inbox)
    return Attachment(_Callback(callback), inbox, suppressing=False)


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
    return Tokens(Inbox(wanted, "tokens", text=text, capacity=capacity))


class _Callback:
    """A sink that is a function."""

    def __init__(self, callback: Callable[[Event], object]) -> None:
        self._callback = callback

    def handle(self, event: Event) -> None:
        self._callback(event)

    def close(self) -> None:
        pass


class _Bell:
    """Wakes its event loop from any thread when there is something to read.

    It knows the inbox and not who reads it, so that a reader nobody holds any more can go.
    """

    def __init__(self, inbox: Inbox) -> None:
        try:
            self.loop = asyncio.get_running_loop()
        except RuntimeError:
            message = "no event loop runs here: subscribe inside a coroutine, or give a plain function as callback"
            raise RuntimeError(message) from None
        self._inbox = inbox
        self._rung = asyncio.Event()
        self._ringing = False

    def ring(self) -> None:
        if self._ringing:
            return
        self._ringing = True
        try:
            self.loop.call_soon_threadsafe(self._rung.set)
        except RuntimeError:  # the loop has ended, and whoever wanted to know with it
            self._inbox.shut()

    async def wait(self) -> None:
        await self._rung.wait()
        self._rung.clear()
        self._ringing = False  # before the inbox is read: what comes from now on rings again

    def flush(self, within: float) -> bool:
        del within  # this may be the loop's own thread, where waiting would be for ever
        return True

    def close(self, within: float = 0) -> bool:
        del within  # as above
        if not self._inbox.closed:
            self._inbox.shut()
            self.ring()
        return True

    def forked(self) -> None:
        self._inbox.shut()  # the child has not the parent's loop


class AsyncSubscription:
    """A coroutine function that is called with events. Use it as an async context manager, or close it."""

    def __init__(self, callback: Callable[[Event], Awaitable[object]], inbox: Inbox) -> None:
        self._callback = callback
        self._inbox = inbox
        self._bell = _Bell(inbox)
        self._task = self._bell.loop.create_task(self._run())
        inbox.open(self._bell)

    @property
    def dropped(self) -> int:
        """Events lost so far: the callback was too slow for them, or failed on them."""
        return self._inbox.dropped

    def close(self) -> None:
        """Take no more events; the callback still gets those taken, if the loop goes on."""
        self._bell.close()

    async def aclose(self) -> None:
        """Take no more events, and wait until the callback has had those taken."""
        self._bell.close()
        if self._task is not asyncio.current_task():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            closed = False
            while not closed:
                await self._bell.wait()
                closed = self._inbox.closed  # before reading: what was put before the end is read
                for event in self._inbox.read():
                    await self._hand_over(event)
        finally:
            self._bell.close()

    async def _hand_over(self, event: Event) -> None:
        try:
            await self._callback(event)
        except asyncio.CancelledError as problem:
            if _is_cancelled(self._task):
                raise
            self._lose(problem)
        except Exception as problem:  # noqa: BLE001  # costs this event and no other
            self._lose(problem)

    def _lose(self, problem: BaseException) -> None:
        fault("a live subscriber", problem)
        self._inbox.lose()

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
    """Whether it is the task itself, and not something that it waits for."""
    cancelling = getattr(task, "cancelling", None)  # Python 3.11
    return cancelling is None or cancelling() > 0


class Tokens:
    """Tokens while they come. They are taken from the moment this is made, not from the first ``async for``."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._bell = _Bell(inbox)
        self._ready: deque[Event] = deque()
        inbox.open(self._bell)

    def until(self, done: asyncio.Future[Any]) -> Self:
        """End when a task or future is done, after all that came before."""
        bell = self._bell
        done.add_done_callback(lambda _: bell.close())
        return self

    @property
    def dropped(self) -> int:
        """Tokens lost so far because they were not read in time."""
        return self._inbox.dropped

    def close(self) -> None:
        """Take no more tokens; those that came can still be read."""
        self._bell.close()

    async def aclose(self) -> None:
        self._bell.close()

    def __aiter__(self) -> Tokens:
        return self

    async def __anext__(self) -> TokenEvent:
        while True:
            closed = self._inbox.closed  # before reading: what was put before the end is read
            self._ready.extend(self._inbox.read())
            if self._ready:
                token = self._ready.popleft()
                if isinstance(token, TokenEvent):
                    return token
            elif closed:
                raise StopAsyncIteration
            else:
                await self._bell.wait()

    def __del__(self) -> None:
        with suppress(AttributeError):  # it was never opened
            self._inbox.shut()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
