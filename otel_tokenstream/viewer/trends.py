"""Percentiles and shares of the chosen streams over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from otel_tokenstream.viewer.index import Array, Index
    from otel_tokenstream.viewer.selection import Mask
    from otel_tokenstream.viewer.streams import Json

_STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 604_800)
"""Seconds, from which a person can read the time of day."""

_MOST = 60
_QUANTILES = {"p50": (0.5, 1), "p95": (0.95, 20), "p99": (0.99, 100)}
"""With the fewest values of which each says more than the largest one does."""


def over_time(index: Index, mask: Mask) -> Json:
    """By steps of equal length that begin at whole steps of UTC; those without a stream are left out."""
    starts = index["start_ns"][mask]
    if not len(starts):
        return {"step_s": None, "steps": []}
    first, last = int(starts.min()), int(starts.max())
    step_s = next((step for step in _STEPS if (last - first) / 1e9 / step < _MOST), None)
    if step_s is None:
        step_s = _STEPS[-1] * -(-(last - first) // (10**9 * _STEPS[-1] * _MOST))
    origin = first // (step_s * 10**9)
    number = (starts // (step_s * 10**9) - origin).astype(np.int16)
    order = np.argsort(number, kind="stable")
    found, begins = np.unique(number[order], return_index=True)
    ends = [*begins[1:], len(order)]
    columns = {
        name: index[name][mask][order]
        for name in ("time_to_first_token_ms", "stall_count", "output_rate", "cost_usd", "outcome")
    }
    failed = index.names["outcome"].known("failed")
    steps = []
    for step, begin, end in zip(found.tolist(), begins, ends, strict=True):
        within = {name: values[begin:end] for name, values in columns.items()}
        stalls = _measured(within["stall_count"])
        costs = _measured(within["cost_usd"])
        steps.append(
            {
                "start_ms": (origin + step) * step_s * 1000,
                "streams": int(end - begin),
                "first_token_ms": _quantiles(within["time_to_first_token_ms"]),
                "output_rate": _quantiles(within["output_rate"]),
                "stalled_share": float((stalls > 0).mean()) if len(stalls) else None,
                "failed_share": float((within["outcome"] == failed).mean()),
                "cost_usd": float(costs.sum()) if len(costs) else None,
            }
        )
    return {"step_s": step_s, "steps": steps}


def _measured(values: Array) -> Array:
    found: Array = values[~np.isnan(values)]
    return found


def _quantiles(values: Array) -> Json | None:
    known = _measured(values)
    if not len(known):
        return None
    wanted = [(name, share) for name, (share, fewest) in _QUANTILES.items() if len(known) >= fewest]
    found = np.quantile(known, [share for _, share in wanted])
    return dict.fromkeys(_QUANTILES) | {name: float(value) for (name, _), value in zip(wanted, found, strict=True)}
