"""Budgets from a file of objectives, the one that alerts, viewer and reports judge by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_tokenstream.gate.metrics import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.analysis.objectives import Objective, Objectives
    from otel_tokenstream.analysis.stream import Stream


@dataclass(frozen=True)
class Covered:
    """Chooses the streams that ``objective`` is the first of all to cover."""

    objectives: Objectives
    objective: Objective
    names: tuple[str, ...] = ()

    def holds(self, stream: Stream) -> bool:
        return self.objectives.of(stream.service or "", stream.model or "") is self.objective


@dataclass(frozen=True)
class FirstTokenLate:
    """Streams without a first token in time, as the alerts count them."""

    objective: Objective

    def is_missed(self, stream: Stream) -> bool | None:
        return self.objective.first_token_late(stream.first_token_ms, stream.outcome)


@dataclass(frozen=True)
class WaitLate:
    """Streams with a longer wait for the provider than the objective allows."""

    objective: Objective

    def is_missed(self, stream: Stream) -> bool | None:
        waited = MEASURES["longest_wait"].of(stream)
        return None if waited is None else waited > 1000 * self.objective.wait.seconds


def name_of(objective: Objective) -> str:
    """Return what a check is called: by the objective's patterns."""
    parts = (("service", objective.services), ("model", objective.models))
    named = [f"{word} {'|'.join(patterns)}" for word, patterns in parts if patterns]
    return f"objectives: {', '.join(named) or 'all others'}"


def limits_of(objective: Objective) -> Iterator[tuple[str, float, FirstTokenLate | WaitLate | None]]:
    """Yield key, allowed share and judge of each limit; without a judge the key is one of ``SHARES``."""
    yield "first_token_late", objective.first_token.budget, FirstTokenLate(objective)
    yield "longest_wait_late", objective.wait.budget, WaitLate(objective)
    yield "failed_share", objective.failed, None
