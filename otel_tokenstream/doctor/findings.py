"""Checks and their findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_tokenstream.doctor.surroundings import Surroundings

Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """A check's finding. ``fix`` is a command, or an instruction where no command does it; empty if all is well."""

    level: Level
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class Check:
    """One check; ``looks`` yields nothing where an earlier finding leaves it nothing to look at.

    ``brief`` says what it looks at, ``needs`` which extra it cannot do without.
    """

    name: str
    brief: str
    looks: Callable[[Surroundings], Iterable[Finding]]
    needs: str = ""


def ok(seen: str) -> Finding:
    return Finding("ok", seen)


def warning(seen: str, fix: str) -> Finding:
    return Finding("warning", seen, fix)


def fault(seen: str, fix: str) -> Finding:
    return Finding("fault", seen, fix)
