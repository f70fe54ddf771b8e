"""A histogram of the gaps between chunks: logarithmic buckets in constant memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import accumulate, compress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# 64 buckets to a factor of two: a percentile is off by less than 0.8 %. The unit makes 10 ms a
# power of two, so that the usual histogram bounds (10 ms times any power of two, 0.25 s, 2.5 s)
# are bounds of buckets as well, and a gap replayed from its bucket cannot land on the wrong side
# of one. Up to 10 s the longest gap of a bucket is the bound itself, to the nanosecond.
_SCALE, _SHIFT = 14_411_518_807, 37  # (10 ms + 1 ns) * _SCALE >> _SHIFT == 2**20
_NO_GAPS = (0,) * 64


class GapCounts:
    """Counts of gaps, a row of 64 buckets for each factor of two that occurs; the first row has all shorter ones."""

    __slots__ = ("_counted", "_rows")

    def __init__(self) -> None:
        self._counted: dict[int, int] | None = None
        self._rows: dict[int, array[int]] = {}

    def add(self, gaps: Iterable[int]) -> None:
        """Count gaps, in ns."""
        rows = self._rows
        self._counted = None
        for gap in gaps:
            units = gap * _SCALE >> _SHIFT
            if units > 63:
                row = units.bit_length() - 7
                units = units >> row & 63
            else:
                row = -1
            try:
                rows[row][units] += 1
            except KeyError:
                rows[row] = array("B", _NO_GAPS)
                rows[row][units] = 1
            except OverflowError:
                rows[row] = array("H" if rows[row].typecode == "B" else "Q", rows[row])
                rows[row][units] += 1

    def by_bucket(self) -> dict[int, int]:
        """Return the counts of the buckets that have any, shortest gaps first. The caller changes nothing of them."""
        if self._counted is not None:
            return self._counted
        found: dict[int, int] = {}
        for row, counts in sorted(self._rows.items()):
            first = row + 1 << 6
            found.update(zip(compress(range(first, first + 64), counts), filter(None, counts), strict=True))
        self._counted = found
        return found

    def percentiles(self, shares: Iterable[float]) -> list[int]:
        """Return, for each share of all gaps, the middle of the bucket below which it lies, in ns; 0 without gaps."""
        counts = self.by_bucket()
        if not counts:
            return [0 for _ in shares]
        buckets, seen = list(counts), list(accumulate(counts.values()))
        return [round(sum(_bounds(buckets[bisect_left(seen, share * seen[-1])])) / 2) for share in shares]


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


def _bounds(bucket: int) -> tuple[int, int]:
    """Return the shortest and the longest gap of a bucket, in ns."""
    exponent = max((bucket >> 6) - 1, 0)
    units = bucket - (exponent << 6)
    low, high = units << exponent, (units + 1) << exponent
    return -(-(low << _SHIFT) // _SCALE), -(-(high << _SHIFT) // _SCALE) - 1
