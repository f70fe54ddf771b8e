"""Telemetry of libraries that are instrumented but not imported: made at the first import or when it is asked for.

``opentelemetry-instrument`` starts every Python process of a program, and most of them import
neither library. So nothing here imports what writes signals until it is needed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.forking import after_fork
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.settings import Settings

_waiting: list[DeferredTelemetry] = []
_there: dict[int, DeferredTelemetry] = {}
_making = threading.RLock()


class DeferredTelemetry:
    """The Telemetry of one library, from ``instrument()`` to ``uninstrument()``."""

    def __init__(self, library: str, settings: Settings, providers: Mapping[str, Any]) -> None:
        self._library = library
        self._settings = settings
        self._providers = providers
        self._made: Telemetry | None = None
        _waiting.append(self)
        _there[id(self)] = self

    def get(self) -> Telemetry:
        """Return the Telemetry, switched on.

        Those that were instrumented earlier are made first: the settings of the first one decide
        for instruments that several share.
        """
        with _making:
            while self in _waiting:
                first = _waiting[0]
                if first is self:
                    self._make()
                else:
                    guarded(first._make)()
        if self._made is None:
            message = f"the telemetry of {self._library} could not be made, or is switched off"
            raise RuntimeError(message)
        return self._made

    def switch_off(self) -> None:
        with _making:
            _there.pop(id(self), None)
            if self in _waiting:
                _waiting.remove(self)
            if self._made is not None:
                self._made.switch(on=False)
                self._made = None

    def _make(self) -> None:
        from otel_tokenstream.core.emit.telemetry import telemetry_for  # noqa: PLC0415  # the reason for this module

        try:
            made = telemetry_for(self._settings, **self._providers, library=self._library)
            made.switch(on=True)
            self._made = made
        finally:
            _waiting.remove(self)  # last: a child that is forked meanwhile makes its own


def make_all() -> None:
    """Make what waits, in the order in which it was instrumented."""
    if _waiting:
        with _making:
            while _waiting:
                guarded(_waiting[0]._make)()


def _forked() -> None:
    global _making  # noqa: PLW0603  # another thread of the parent may have held it
    _making = threading.RLock()


after_fork(_forked)


def is_any() -> bool:
    """Return whether any library is instrumented, imported or not."""
    return bool(_there)


def none_was_needed() -> bool:
    """Return whether libraries are instrumented, and none of them was imported."""
    return bool(_there) and len(_waiting) == len(_there)
