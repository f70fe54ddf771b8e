"""Percentiles over all gaps of many streams, of which some are known only by their own percentiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.statistics import quantile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from otel_tokenstream.analysis.stream import Stream


@dataclass(frozen=True)
class Gaps:
    """In ms, over ``count`` gaps.

    ``known_share`` of them were known one by one; where that is below 1 the percentiles are estimates and the
    99th is None.
    """

    count: int
    known_share: float
    p50: float
    p95: float
    p99: float | None
    max: float


def gaps_of(streams: Sequence[Stream]) -> Gaps | None:
    """None if no gap was measured."""
    known = [gap / 1e3 for stream in streams if stream.gaps_us is not None for gap in stream.gaps_us]
    estimated = [stream for stream in streams if _only_percentiles(stream)]
    if not known and not estimated:
        return None
    if not estimated:
        known.sort()
        at = (quantile(known, share) for share in (0.5, 0.95, 0.99))
        return Gaps(len(known), 1.0, next(at), next(at), next(at) if len(known) >= 100 else None, known[-1])
    count = len(known) + sum((stream.chunks or 1) - 1 for stream in estimated)
    p50, p95 = _mixed_quantiles(_densities(known, estimated), [0.5 * count, 0.95 * count])
    longest = max([*known[-1:], *known, *(stream.gap_max_ms or 0 for stream in estimated)])
    return Gaps(count, len(known) / count, p50, p95, None, longest)


def _only_percentiles(stream: Stream) -> bool:
    measured = None not in (stream.gap_p50_ms, stream.gap_p95_ms, stream.gap_max_ms)
    return stream.gaps_us is None and measured and (stream.chunks or 0) > 1


_Change = tuple[float, float, float]
"""At a gap of so many ms: this many gaps of exactly that length, and so many more gaps for each further ms."""


def _densities(known: Iterable[float], estimated: Iterable[Stream]) -> list[_Change]:
    """A stream's gaps are taken as spread evenly below its median, from there to its 95th percentile, and beyond."""
    changes: list[_Change] = [(gap, 1.0, 0.0) for gap in known]
    for stream in estimated:
        gaps = (stream.chunks or 1) - 1
        points = (0.0, float(stream.gap_p50_ms or 0), float(stream.gap_p95_ms or 0), float(stream.gap_max_ms or 0))
        for low, high, share in zip(points, points[1:], (0.5, 0.45, 0.05), strict=False):
            if high > low:
                rate = share * gaps / (high - low)
                changes += [(low, 0.0, rate), (high, 0.0, -rate)]
            else:
                changes.append((low, share * gaps, 0.0))
    return sorted(changes)


def _mixed_quantiles(changes: Sequence[_Change], targets: Sequence[float]) -> list[float]:
    """Gaps below which ``targets`` (ascending) many lie."""
    found: list[float] = []
    seen = rate = before = 0.0
    for at, mass, more in changes:
        while len(found) < len(targets) and rate > 0 and seen + rate * (at - before) >= targets[len(found)]:
            found.append(before + (targets[len(found)] - seen) / rate)
        seen += max(rate, 0.0) * (at - before) + mass
        while len(found) < len(targets) and seen >= targets[len(found)] - 1e-9:
            found.append(at)
        rate, before = rate + more, at
    return found + [before] * (len(targets) - len(found))
