"""A thread that looks at open streams whose events go to the log, while nothing of them comes.

What a stream keeps back to share a log record would otherwise wait for its next chunk, and a read
that is blocked is told by nobody who is blocked in it. The thread is there only while such
streams are open, and for a short time after the last of them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import ref

from otel_tokenstream.core.call.model_call import now
from otel_tokenstream.core.runtime import forking
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.emit.log_events import LiveLog

_INTERVAL = 0.2  # s
_IDLE_ROUNDS = 25


class _Watcher:
    def __init__(self) -> None:
        self._watched: dict[int, tuple[LiveLog, ref[ModelCall]]] = {}
        self._thread: threading.Thread | None = None
        # Held for each round, and around a fork: what the round holds of the SDK no child may inherit.
        self._round = threading.Lock()
        forking.look_after(self)

    def add(self, log: LiveLog, call: ModelCall) -> None:
        self._watched[id(log)] = (log, ref(call))
        if self._thread is None:
            self._thread = thread = threading.Thread(target=self._run, name="tokenstream-live-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread can be made: records come with the chunks
                self._thread = None

    def locks(self) -> list[Any]:
        return [self._round]

    def forked(self) -> None:
        for log, _ in self._watched.values():
            log.forked()
        self._watched.clear()
        self._thread = None

    def _run(self) -> None:
        mine = threading.current_thread()
        idle = 0
        while self._thread is mine:
            time.sleep(_INTERVAL)
            with self._round:
                self._look()
            idle = 0 if self._watched else idle + 1
            if idle >= _IDLE_ROUNDS:
                self._thread = None
                if self._watched:  # one was added before it could see that nobody looks
                    self._thread = mine

    @guarded
    def _look(self) -> None:
        at = now()
        for key, (log, found) in list(self._watched.items()):
            call = found()
            if call is None or call.ended:
                self._watched.pop(key, None)
            else:
                log.look(call, at)


add = _Watcher().add
