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

from otel_tokenstream.core.call.stream_proxy import is_mock
from otel_tokenstream.core.runtime.guard import fault, guarded
from otel_tokenstream.patches.seams import PublicEntry, Seam, expected, on_disk, report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Patch:
    """``wrap`` takes the original at ``module``.``attribute`` (dotted for a class) and returns what replaces it.

    Applied once the module has been imported, and ``after`` too where one is named: a library
    that copies names between its modules must have done so. An ``optional`` place may be
    missing, since versions of a library differ. With ``cell`` the attribute is a decorator's
    wrapper, and what is replaced is the function that it closes over by this name: programs
    that hold the wrapper itself are reached as well. ``entries`` are the library's public
    entries that are seen from this place: of all the places of an entry one has to be found.
    """

    module: str
    attribute: str
    wrap: Callable[[Any], Any]
    after: str | None = None
    optional: bool = False
    cell: str | None = None
    entries: tuple[PublicEntry, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.module}.{self.attribute}" + (f" ({self.cell})" if self.cell else "")

    @property
    def seam_of(self) -> tuple[PublicEntry, ...]:
        """A place that must not be missing is an entry by itself, where it is not one of several."""
        return self.entries or (() if self.optional else (PublicEntry(f"{self.module}.{self.attribute}"),))

    @property
    def awaited(self) -> set[str]:
        return {self.module, self.after or self.module}


class PatchTable:
    """Patches that wait for their library's import, or are applied at once where it is imported."""

    def __init__(self, patches: Sequence[Patch], library: str) -> None:
        self._patches = patches
        self._library = library
        self._applied: list[tuple[Any, str, Any, Any]] = []
        self._imported: set[str] = set()
        self._found: set[Patch] = set()

    def apply(self) -> None:
        modules = dict.fromkeys(name for patch in self._patches for name in patch.awaited)
        modules[self._library] = None
        self._imported.update(name for name in modules if name in sys.modules)
        self._patch_all(self._imported)
        self._report()
        for name in modules:
            if name not in self._imported:
                register_post_import_hook(self._on_import, name)

    def remove(self) -> None:
        """Put the originals back, where nobody has put anything else since."""
        # An import hook cannot be taken back, and keeps this table.
        self._patches = ()
        self._found.clear()
        while self._applied:
            place, name, original, ours = self._applied.pop()
            if _at(place, name) is ours:
                setattr(place, name, original)
        report(self._library, set())

    def seams(self) -> dict[PublicEntry, list[Seam]]:
        """Return the places of each public entry and which of them were found."""
        found: dict[PublicEntry, list[Seam]] = {}
        for patch in self._patches:
            for entry in patch.seam_of:
                found.setdefault(entry, []).append(Seam(patch.place, self._state(patch)))
        return found

    def modules(self) -> set[str]:
        """Return the modules that are patched, those of other versions of the library among them."""
        return {patch.module for patch in self._patches}

    def missing(self) -> set[str]:
        """Return the names of the entries for which no place is left that an import could bring."""
        seen = {entry for patch in self._found for entry in patch.seam_of}
        entries = dict.fromkeys(entry for patch in self._patches for entry in patch.seam_of if entry not in seen)
        return expected(self._library, [entry for entry in entries if self._is_lost(entry)])

    def _state(self, patch: Patch) -> str:
        if patch in self._found:
            return "found"
        waiting = any(name not in self._imported and on_disk(name) for name in patch.awaited)
        return "waiting" if waiting else "missing"

    def _on_import(self, module: Any) -> None:
        self._imported.add(module.__name__)
        self._patch_all({module.__name__})
        self._report()

    @guarded
    def _report(self) -> None:
        if self._library in self._imported and self._patches:
            report(self._library, self.missing())

    def _is_lost(self, entry: PublicEntry) -> bool:
        return all(self._state(patch) == "missing" for patch in self._patches if entry in patch.seam_of)

    def _patch_all(self, newly: set[str]) -> None:
        for patch in self._patches:
            if patch.awaited & newly and patch.awaited <= self._imported:
                try:
                    self._patch(patch)
                except Exception as problem:  # noqa: BLE001  # the import that brought us here must succeed
                    fault(f"patching {patch.place}", problem)

    def _patch(self, patch: Patch) -> None:
        *path, name = patch.attribute.split(".")
        place: Any = sys.modules.get(patch.module)
        for part in path:
            place = getattr(place, part, None)
        if place is not None and patch.cell is not None:
            place, name = _cell(vars(place).get(name), patch.cell), "cell_contents"
        original = None if place is None else _at(place, name)
        if original is None:
            return
        self._found.add(patch)
        # A test's mock stays as it is: the test asks it how it was called, and one in a class has no __get__.
        if is_mock(original):
            return
        if any(applied[0] is place and applied[1] == name for applied in self._applied):
            return
        ours = patch.wrap(original)
        if ours is not original:
            setattr(place, name, ours)
            self._applied.append((place, name, original, ours))


def _at(place: Any, name: str) -> Any:
    """Return the object's own attribute, not an inherited one."""
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
