"""Run a function when a library is about to be imported, before any of its modules is."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from wrapt import register_post_import_hook

from otel_tokenstream.core.runtime.forking import after_fork
from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

_waiting: dict[str, Callable[[], None]] = {}
_running = threading.RLock()


class _Finder:
    """Finds no module: it stands in ``sys.meta_path`` to see the first search for a library."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        del path, target
        if name in _waiting:
            _run(name)


_finder = _Finder()


def before_import(library: str, run: Callable[[], None]) -> None:
    """Call ``run`` once, when ``library`` is first searched for; what it raises is logged and counted."""
    _waiting[library] = run
    if _finder not in sys.meta_path:
        # An import walks through this list and would skip a finder that is put before the current
        # one meanwhile. wrapt puts its finder there at its first hook, so that comes before ours.
        register_post_import_hook(_ignore, library)
        sys.meta_path.insert(0, _finder)


def withdraw(library: str) -> None:
    """Forget what ``before_import`` was given, if the library was not imported."""
    _waiting.pop(library, None)


def _run(library: str) -> None:
    # A second thread must not go on to the import before the hooks are there.
    with _running:
        run = _waiting.get(library)
        if run is not None:
            guarded(run)()
            _waiting.pop(library, None)  # last: a child that is forked meanwhile runs it itself


def _ignore(_: object) -> None:
    pass


def _forked() -> None:
    global _running  # noqa: PLW0603  # another thread of the parent may have held it
    _running = threading.RLock()


after_fork(_forked)
