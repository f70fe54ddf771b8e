"""First tokens against the objectives of their service and model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.groups import MOST_GROUPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.analysis.objectives import Objectives, Within
    from otel_tokenstream.analysis.stream import Stream


@dataclass(frozen=True)
class InTime:
    """The streams of one service and model: ``late`` of ``judged`` had no first token within the objective.

    ``share`` is the part of them, from 0 to 1, that the objective wants in time, ``share_in_time`` the part that was.
    """

    service: str | None
    model: str | None
    within_ms: float
    share: float
    judged: int
    late: int
    share_in_time: float
    met: bool


def in_time(streams: Sequence[Stream], objectives: Objectives) -> list[InTime]:
    """Judge first tokens as the alerts do, by service and model, those with most streams first."""
    pairs = {(stream.service, stream.model) for stream in streams}
    of = {pair: objectives.of(pair[0] or "", pair[1] or "") for pair in pairs}
    judged: Counter[tuple[str | None, str | None]] = Counter()
    late: Counter[tuple[str | None, str | None]] = Counter()
    for stream in streams:
        pair = stream.service, stream.model
        missed = of[pair].first_token_late(stream.first_token_ms, stream.outcome)
        if missed is not None:
            judged[pair] += 1
            late[pair] += missed
    return [_of(*pair, of[pair].first_token, count, late[pair]) for pair, count in judged.most_common(MOST_GROUPS)]


def _of(service: str | None, model: str | None, objective: Within, judged: int, late: int) -> InTime:
    kept = 1 - late / judged
    met = kept >= objective.share
    return InTime(service, model, 1000 * objective.seconds, objective.share, judged, late, kept, met)
