"""The registry of live observers of running calls. Core knows none of them: they add themselves here.

Each is told on the thread of the call, between two chunks of it, so telling must be short. Where
nobody looks on a call costs what it always did.
"""

from __future__ import annotations

import secrets
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import format_span_id, format_trace_id

from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.call.interfaces import Live
from otel_tokenstream.core.emit import deferred, silence
from otel_tokenstream.core.runtime import forking
from otel_tokenstream.core.runtime.finalizers import forget
from otel_tokenstream.core.runtime.guard import fault, guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.trace import Span

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.call.timeline import Row
    from otel_tokenstream.core.content.redaction import RedactionHook

_LONGEST_EXIT = 2.0

# Live events that were lost, by the name of who lost them; read by tokenstream.live.dropped
# when metrics are collected.
dropped: Counter[str] = Counter()


@dataclass(frozen=True)
class Origin:
    """The origin of live events. Ids are hex, ``trace_id`` and ``parent_id`` empty where there is none."""

    stream_id: str
    trace_id: str
    parent_id: str
    operation: str
    correlation: Mapping[str, str]
    redact: RedactionHook | None
    model: str = ""
    provider: str = ""
    named: bool = False
    """Whether the operation is the program's own word for it."""


class Watch(Live, Protocol):
    """One observer's look at one call; told first of all of its start."""

    def started(self, call: ModelCall, /) -> None: ...


class Observer(Protocol):
    """Looks on at calls it wants to see."""

    def watch(self, origin: Origin) -> Watch | None: ...

    def tell(self, origin: Origin, event: Any, /) -> None:
        """Take an event of a step, made already."""

    def flush(self, within: float) -> bool: ...

    def close(self, within: float) -> bool:
        """Take no more, and wait for what was taken for at most ``within`` seconds; may be called again."""

    def forked(self) -> None:
        """Begin anew in a forked child: queues, threads and locks are the parent's."""


# One step of a dict is one step for other threads too, and for a collection of garbage in the midst of it.
_observers: dict[int, Observer] = {}
# Whether any call was ever there to look at.
_asked: dict[bool, bool] = {}


def add(observer: Observer) -> None:
    _observers[id(observer)] = observer
    in_flight.arm(_close_all)


def remove(observer: Observer) -> None:
    if _observers.pop(id(observer), None) is not None and not _asked and not deferred.is_any():
        silence.nothing_instrumented()


def remove_with(holder: object, observer: Observer) -> object:
    """Return what removes an observer when ``holder`` is dropped, without Python code in a finalizer."""
    return weakref.ref(holder, forget(_observers, id(observer)))


def present() -> bool:
    return bool(_observers)


def _all() -> list[Observer]:
    return list(_observers.values())


def watches(origin: Origin) -> list[Watch]:
    """Return the looks of all who want to see a call."""
    _asked[True] = True
    found = [guarded(each.watch)(origin) for each in _all()]
    return [watch for watch in found if watch is not None]


def tell(origin: Origin, event: object) -> None:
    for each in _all():
        guarded(each.tell)(origin, event)


def flush(within: float) -> bool:
    """Wait until all was handled that was told so far; return whether it was in time."""
    deadline = time.monotonic() + within
    done = [guarded(each.flush)(max(deadline - time.monotonic(), 0)) for each in _all()]
    return all(done)


def origin_of(
    span: Span,
    parent: Span,
    correlation: Mapping[str, str],
    redact: RedactionHook | None,
    *,
    request: Request | None = None,
    step: str = "",
    adopted: bool = False,
) -> Origin:
    """Say where events of a call's or a step's span come from; of an ``adopted`` one the parent is not known."""
    context, above = span.get_span_context(), parent.get_span_context()
    # A tracer that leads nowhere hands the parent's own context on: two calls would share an id.
    own = context.is_valid and (adopted or context.span_id != above.span_id)
    return Origin(
        stream_id=format_span_id(context.span_id) if own else secrets.token_hex(8),
        trace_id=format_trace_id(context.trace_id) if context.is_valid else "",
        parent_id=format_span_id(above.span_id) if above.is_valid and not adopted else "",
        operation=correlation.get("operation") or (request.operation if request is not None else step),
        correlation={name: value for name, value in correlation.items() if name != "operation"},
        redact=redact,
        model=request.model if request is not None else "",
        provider=request.provider if request is not None else "",
        named=request is None or "operation" in correlation,
    )


class FanOut:
    """Several that look on at one call; what one cannot do must not keep the next from it."""

    __slots__ = ("_all", "text")

    def __init__(self, lookers: Sequence[Live]) -> None:
        self._all = tuple(lookers)
        self.text = any(each.text for each in lookers)

    def __call__(self, call: ModelCall, row: Row) -> None:
        for each in self._all:
            try:
                each(call, row)
            except Exception as problem:  # noqa: BLE001, PERF203  # ours, not the user's
                fault("telling of a chunk", problem)

    def stalled(self, call: ModelCall, since: int, at: int, phase: str) -> None:
        for each in self._all:
            guarded(each.stalled)(call, since, at, phase)

    def close(self, call: ModelCall) -> None:
        for each in self._all:
            guarded(each.close)(call)


def _close_all() -> None:
    """Let all finish at once when the program exits, and wait for them together."""
    closing = _all()
    for each in closing:
        guarded(each.close)(0)
    deadline = time.monotonic() + _LONGEST_EXIT
    for each in closing:
        guarded(each.close)(max(deadline - time.monotonic(), 0))


def _forked() -> None:
    dropped.clear()
    for each in _all():
        guarded(each.forked)()


forking.after_fork(_forked)
