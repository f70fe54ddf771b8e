"""The places at which the public entries of a library can be seen, and what is said when an entry has none.

A release of a library may move what we patch. Every place is optional for that reason, so the
loss of all places of an entry has to be noticed here: it is logged, and counted for as long as
the library is instrumented.
"""

from __future__ import annotations

import logging
import sys
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from otel_tokenstream.core.runtime.guard import guarded, unseen

if TYPE_CHECKING:
    from collections.abc import Iterable

_logger = logging.getLogger(__name__)
_logged: set[tuple[str, str]] = set()


class PublicEntry(NamedTuple):
    """A function or method that programs call; ``since`` is a version of the library that has it for certain."""

    name: str
    since: tuple[int, ...] = ()


# The version of litellm from which on an entry that came after 1.60 has to have a place. Those before do not change.
LITELLM = (1, 106)


class Seam(NamedTuple):
    """A place of an entry: "found", "missing", or "waiting" for an import that may never come."""

    place: str
    state: str


def expected(library: str, entries: Iterable[PublicEntry]) -> set[str]:
    """Return the names of those that the installed version has for certain."""
    if not hasattr(sys.modules.get(library), "__path__"):
        return set()  # something that a test put in the library's place
    installed = _version(library)
    return {entry.name for entry in entries if installed is None or _numbers(installed) >= entry.since}


def report(library: str, names: set[str]) -> None:
    """Count these entries of a library as unseen, and warn of those that are so since now."""
    installed = _version(library)
    new = sorted(name for name in names if (library, name) not in _logged)
    for known in [known for known in unseen if known[0] == library and known[1] not in names]:
        del unseen[known]
    unseen.update({(library, name): 1 for name in names})
    _logged.update(unseen)
    if new:
        _logger.warning(
            "otel-tokenstream does not record calls of %s: %s %s has none of the functions it patches for them. "
            "The program is not affected, but these calls have no spans and no metrics (tokenstream.seams.missing "
            "counts the entries). Update otel-tokenstream, or use an earlier version of %s; otel-tokenstream doctor "
            "shows which entries are seen.",
            ", ".join(new),
            library,
            installed or "of unknown version",
            library,
        )


def on_disk(module: str) -> bool:
    """Return whether a module could be imported; nothing is imported to find that out."""
    package, *parts = module.split(".")
    path = getattr(sys.modules.get(package), "__path__", None)
    for part in parts:
        # By its own name, as if it stood alone: for the full one a namespace package wants its parent imported.
        spec = None if path is None else PathFinder.find_spec(part, path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


@cache
@guarded
def _version(library: str) -> str | None:
    try:
        return version(library)
    except ImportError:  # not installed, but on the path
        return None


def _numbers(installed: str) -> tuple[int, ...]:
    numbers = []
    for part in installed.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
