"""How long the gaps between chunks were: counted in logarithmic buckets, in constant memory."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# 64 buckets to a factor of two: a percentile is off by less than 0.8 %. The unit makes 10 ms a
# power of two, so that the usual histogram bounds (10 ms times any power of two, 0.25 s, 2.5 s)
# are bounds of buckets as well, and a gap replayed from its bucket cannot land on the wrong side
# of one.
_SCALE, _SHIFT = 14_073_748, 27  # (10 ms + 1 ns) * _SCALE >> _SHIFT == 2**20
_NO_GAPS = (0,) * 128


class GapCounts:
    """Counts of gaps, a row for each factor of two that occurs."""

    __slots__ = ("_octaves",)

    def __init__(self) -> None:
        self._octaves: dict[int, array[int]] = {}

    def add(self, gaps: Iterable[int]) -> None:
        """Count gaps, in ns."""
        octaves = self._octaves
        for gap in gaps:
            units = gap * _SCALE >> _SHIFT
            if units < 128:
                exponent = 0
            else:
                exponent = units.bit_length() - 7
                units >>= exponent
            try:
                octaves[exponent][units] += 1
            except KeyError:
                octaves[exponent] = array("I", _NO_GAPS)
                octaves[exponent][units] = 1

    def by_bucket(self) -> dict[int, int]:
        """Return the counts of the buckets that have any, shortest gaps first."""
        return {
            (exponent << 6) + units: count
            for exponent, counts in sorted(self._octaves.items())
            for units, count in enumerate(counts)
            if count
        }

    def percentile(self, share: float) -> int:
        """Return the middle of the bucket below which ``share`` of all gaps lie, in ns; 0 without gaps."""
        counts = self.by_bucket()
        rank = share * sum(counts.values())
        seen = 0
        for bucket, count in counts.items():
            seen += count
            if seen >= rank:
                return round(sum(_bounds(bucket)) / 2)
        return 0


def gaps(counts: Mapping[int, int], total: int) -> Iterator[tuple[int, float, int]]:
    """Yield (bucket, gap in ns, how often) from counted buckets; the gaps' sum is ``total``.

    Each gap lies within its bucket: all are put at the same share of their bucket's width, and
    the one share that gives the right sum is between 0 and 1.
    """
    bounds = {bucket: _bounds(bucket) for bucket in counts}
    low = sum(bounds[bucket][0] * count for bucket, count in counts.items())
    width = sum((bounds[bucket][1] - bounds[bucket][0]) * count for bucket, count in counts.items())
    share = min(max((total - low) / width, 0.0), 1.0) if width else 0.0
    for bucket, count in counts.items():
        lower, upper = bounds[bucket]
        yield bucket, lower + share * (upper - lower), count


def _bounds(bucket: int) -> tuple[float, float]:
    exponent = max((bucket >> 6) - 1, 0)
    units = bucket - (exponent << 6)
    low, high = units << exponent, (units + 1) << exponent
    return low * (1 << _SHIFT) / _SCALE, high * (1 << _SHIFT) / _SCALE
