"""The thread of one sink: made with its first event, and anew after a fork."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Protocol

from otel_tokenstream.core.call import user_code
from otel_tokenstream.core.runtime.guard import fault, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.live.event_queue import EventQueue
    from otel_tokenstream.live.events import Event

    class Handles(Protocol):
        def handle(self, event: Event) -> None: ...

        def close(self) -> None: ...


class Worker:
    """Reads a queue and hands each event to a sink.

    The thread is a daemon's: a sink that hangs must not keep the program from exiting.
    """

    def __init__(self, sink: Handles, queue: EventQueue) -> None:
        self._sink = sink
        self._queue = queue
        self._closing = False
        self._begin()
        queue.open(self)

    def notify(self) -> None:
        if self._thread is None:
            self._start()

    def flush(self, within: float) -> bool:
        if self._thread is None or self._thread is threading.current_thread():
            return self._thread is None
        reached = threading.Event()
        self._queue.call(partial(self._settle, reached))
        return reached.wait(within)

    def close(self, within: float) -> bool:
        with self._changing:
            first, self._closing = not self._closing, True
        if first:
            self._queue.shut()
            if self._thread is None:
                for event in self._queue.read():
                    self._hand_over(event)
                self._finish()
            else:
                self._queue.call(self._finish)
        if self._thread is threading.current_thread():
            return False
        hurry = getattr(self._sink, "hurry", None)
        if hurry is not None and within:
            self._guarded(hurry, within * 3 / 4)  # the rest is for what follows
        return self._finished.wait(within)

    def forked(self) -> None:
        """Begin anew: the thread is the parent's, and may have held the locks."""
        self._begin()
        forked = getattr(self._sink, "forked", None)
        if forked is not None:
            self._guarded(forked)

    def _begin(self) -> None:
        self._thread: threading.Thread | None = None
        self._changing = threading.Lock()
        self._finished = threading.Event()
        self._closing = False

    def _start(self) -> None:
        with self._changing:
            if self._thread is not None:
                return
            name = f"tokenstream-{type(self._sink).__name__}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # no threads are made any more when the interpreter exits
            self._thread = None

    @guarded
    def _run(self) -> None:
        # Requests of a sink are no part of the program: an instrumented client would make spans of them.
        user_code.suppress()
        finished = self._finished
        while not finished.is_set():
            try:
                for event in self._queue.next():
                    self._hand_over(event)
                if self._queue.empty():
                    self._settle()
            except BaseException as problem:  # noqa: BLE001, PERF203  # ours, or the redaction hook's
                fault("making a live event", problem)

    def _hand_over(self, event: Event) -> None:
        if not self._guarded(self._sink.handle, event):
            self._queue.lose()

    def _settle(self, done: threading.Event | None = None) -> None:
        settle = getattr(self._sink, "settle", None)
        if settle is not None:
            self._guarded(settle)
        if done is not None:
            done.set()

    def _finish(self) -> None:
        self._guarded(self._sink.close)
        self._finished.set()

    def _guarded(self, method: Callable[..., object], *args: object) -> bool:
        """Call a method of the sink and return whether that worked; an error costs this call and no other."""
        try:
            user_code.call(method, *args)
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt) and threading.current_thread() is not self._thread:
                raise
            fault(f"the live sink {type(self._sink).__qualname__}", problem)
            return False
        return True
