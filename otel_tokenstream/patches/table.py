"""Applies and removes a library's patches: a table of places and what to put there.

Patches are plain functions around the original, never wrapper objects: a bound method of a
wrapper object that a program keeps on an instance can be neither copied nor pickled.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

from otel_tokenstream.core.guard import fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Patch:
    """``wrap`` takes the original at ``module``.``attribute`` (dotted for a class) and returns what replaces it.

    Applied once ``after`` has been imported (the module itself if None). An ``optional``
    place may be missing, since versions of a library differ.
    """

    module: str
    attribute: str
    wrap: Callable[[Any], Any]
    after: str | None = None
    optional: bool = False


class PatchTable:
    """Patches that wait for their library's import, or are applied at once where it is imported."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches
        self._applied: list[tuple[Any, str, Any, Any]] = []
        self._active = False

    def apply(self) -> None:
        self._active = True
        for module in dict.fromkeys(patch.after or patch.module for patch in self._patches):
            if module in sys.modules:
                self._imported(sys.modules[module])
            else:
                register_post_import_hook(self._imported, module)

    def remove(self) -> None:
        """Put the originals back, where nobody has put anything else since."""
        self._active = False
        while self._applied:
            place, name, original, ours = self._applied.pop()
            if vars(place).get(name) is ours:
                setattr(place, name, original)

    def _imported(self, module: Any) -> None:
        # An import hook cannot be taken back: after remove() it finds the table inactive.
        for patch in self._patches if self._active else ():
            if (patch.after or patch.module) == module.__name__:
                try:
                    self._patch(patch)
                except Exception as problem:  # noqa: BLE001  # the import that brought us here must succeed
                    fault(f"patching {patch.module}.{patch.attribute}", problem)

    def _patch(self, patch: Patch) -> None:
        *path, name = patch.attribute.split(".")
        place: Any = sys.modules.get(patch.module)
        for part in path:
            place = getattr(place, part, None)
        if place is None or name not in vars(place):
            if patch.optional:
                return
            missing = f"{patch.module} has no {patch.attribute}"
            raise AttributeError(missing)
        if any(applied[0] is place and applied[1] == name for applied in self._applied):
            return
        original = vars(place)[name]
        ours = patch.wrap(original)
        setattr(place, name, ours)
        self._applied.append((place, name, original, ours))
