"""The libraries that have an instrumentor here, as its entry point and its class say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

PREFIX = "tokenstream_"


@dataclass(frozen=True)
class Library:
    """``instrumentor`` is the entry point's name, ``module`` what is imported, ``package`` what is installed."""

    instrumentor: str
    module: str
    package: str

    @property
    def extra(self) -> str:
        return self.instrumentor.removeprefix(PREFIX)


def libraries(entries: Iterable[EntryPoint]) -> list[Library]:
    """Return those of our entry points; none of the libraries is imported."""
    found = []
    for entry in entries:
        if entry.name.startswith(PREFIX):
            made = entry.load()()
            (requirement,) = made.instrumentation_dependencies()
            found.append(Library(entry.name, made.library, Requirement(requirement).name))
    return sorted(found, key=lambda each: each.instrumentor)
