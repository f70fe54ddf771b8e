"""The thread of one sink: made with its first event, and anew after a fork."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Protocol

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_tokenstream.core.guard import fault, guarded

if TYPE_CHECKING:
    from otel_tokenstream.live.events import Event
    from otel_tokenstream.live.inbox import Inbox

    class Handles(Protocol):
        def handle(self, event: Event) -> None: ...

        def close(self) -> None: ...


class Worker:
    """Reads an inbox and hands each event to a sink.

    The thread is a daemon's: a sink that hangs must not keep the program from exiting.
    """

    def __init__(self, sink: Handles, inbox: Inbox, *, suppressing: bool) -> None:
        self._sink = sink
        self._inbox = inbox
        self._suppressing = suppressing
        self._closing = False
        self._begin()
        inbox.open(self)

    def ring(self) -> None:
        if self._thread is None:
            self._start()

    def flush(self, within: float) -> bool:
        if self._thread is None or self._thread is threading.current_thread():
            return self._thread is None
        reached = threading.Event()
        self._inbox.call(partial(self._settle, reached))
        return reached.wait(within)

    def close(self, within: float) -> bool:
        with self._changing:
            first, self._closing = not self._closing, True
        if first:
            self._inbox.shut()
            if self._thread is None:
                for event in self._inbox.read():
                    self._hand_over(event)
                self._finish()
            else:
                self._inbox.call(self._finish)
        if self._thread is threading.current_thread():
            return False
        hurry = getattr(self._sink, "hurry", None)
        if hurry is not None and within:
            hurry(within * 3 / 4)  # the rest is for what follows
        return self._finished.wait(within)

    def forked(self) -> None:
        """Begin anew: the thread is the parent's, and may have held the locks."""
        self._begin()
        forked = getattr(self._sink, "forked", None)
        if forked is not None:
            forked()

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
        if self._suppressing:
            # Requests of a sink are no part of the program: an instrumented client would make spans of them.
            with suppress_instrumentation():
                self._read()
        else:
            self._read()

    def _read(self) -> None:
        finished = self._finished
        while not finished.is_set():
            try:
                for event in self._inbox.next():
                    self._hand_over(event)
                if self._inbox.empty():
                    self._settle()
            except Exception as problem:  # noqa: BLE001, PERF203  # ours, not the sink's
                fault("making a live event", problem)

    def _hand_over(self, event: Event) -> None:
        try:
            self._sink.handle(event)
        except (Exception, CancelledError, SystemExit) as problem:  # noqa: BLE001  # costs this event and no other
            fault(f"the live sink {type(self._sink).__qualname__}", problem)
            self._inbox.lose()

    def _settle(self, done: threading.Event | None = None) -> None:
        try:
            settle = getattr(self._sink, "settle", None)
            if settle is not None:
                settle()
        except Exception as problem:  # noqa: BLE001  # as above
            fault(f"the live sink {type(self._sink).__qualname__}", problem)
        if done is not None:
            done.set()

    def _finish(self) -> None:
        try:
            self._sink.close()
        except Exception as problem:  # noqa: BLE001  # whatever a sink may raise
            fault(f"closing the live sink {type(self._sink).__qualname__}", problem)
        self._finished.set()
