"""Applies and removes a library's patches: a table of places and what to put there.

Patches are plain functions around the original, never wrapper objects: a bound method of a
wrapper object that a program keeps on an instance can be neither copied nor pickled.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import CellType
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

from otel_tokenstream.core.guard import fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Patch:
    """``wrap`` takes the original at ``module``.``attribute`` (dotted for a class) and returns what replaces it.

    Applied once the module has been imported, and ``after`` too where one is named: a library
    that copies names between its modules must have done so. An ``optional`` place may be
    missing, since versions of a library differ. With ``cell`` the attribute is a decorator's
    wrapper, and what is replaced is the function that it closes over by this name: programs
    that hold the wrapper itself are reached as well.
    """

    module: str
    attribute: str
    wrap: Callable[[Any], Any]
    after: str | None = None
    optional: bool = False
    cell: str | None = None

    @property
    def awaited(self) -> set[str]:
        return {self.module, self.after or self.module}


class PatchTable:
    """Patches that wait for their library's import, or are applied at once where it is imported."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches
        self._applied: list[tuple[Any, str, Any, Any]] = []
        self._imported: set[str] = set()

    def apply(self) -> None:
        modules = dict.fromkeys(name for patch in self._patches for name in patch.awaited)
        self._imported.update(name for name in modules if name in sys.modules)
        self._patch_all(self._imported)
        for name in modules:
            if name not in self._imported:
                register_post_import_hook(self._on_import, name)

    def remove(self) -> None:
        """Put the originals back, where nobody has put anything else since."""
        self._patches = ()  # an import hook cannot be taken back, and keeps this table
        while self._applied:
            place, name, original, ours = self._applied.pop()
            if _at(place, name) is ours:
                setattr(place, name, original)

    def _on_import(self, module: Any) -> None:
        self._imported.add(module.__name__)
        self._patch_all({module.__name__})

    def _patch_all(self, newly: set[str]) -> None:
        for patch in self._patches:
            if patch.awaited & newly and patch.awaited <= self._imported:
                try:
                    self._patch(patch)
                except Exception as problem:  # noqa: BLE001  # the import that brought us here must succeed
                    fault(f"patching {patch.module}.{patch.attribute}", problem)

    def _patch(self, patch: Patch) -> None:
        *path, name = patch.attribute.split(".")
        place: Any = sys.modules.get(patch.module)
        for part in path:
            place = getattr(place, part, None)
        if place is not None and patch.cell is not None:
            place, name = _cell(vars(place).get(name), patch.cell), "cell_contents"
        original = None if place is None else _at(place, name)
        if original is None:
            if patch.optional:
                return
            missing = f"{patch.module} has no {patch.attribute}"
            raise AttributeError(missing)
        if any(applied[0] is place and applied[1] == name for applied in self._applied):
            return
        ours = patch.wrap(original)
        if ours is not original:
            setattr(place, name, ours)
            self._applied.append((place, name, original, ours))


def _at(place: Any, name: str) -> Any:
    """What stands at a place itself, not what it inherits."""
    return place.cell_contents if isinstance(place, CellType) else vars(place).get(name)


def _cell(function: Any, variable: str) -> CellType | None:
    """Find the closure's cell, under wrappers that others have put around since."""
    while function is not None:
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        if variable in names:
            found: CellType = function.__closure__[names.index(variable)]
            return found
        function = getattr(function, "__wrapped__", None)
    return None
