"""Names in Prometheus of the signals, as its OTLP receiver translates them."""

from __future__ import annotations

import re

from otel_tokenstream import signals

_UNITS = {"s": "seconds", "USD": "USD"}


def label(attribute: str) -> str:
    """Return the label of an attribute."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", attribute)


def metric(name: str) -> str:
    """Return the name of a metric without the suffixes ``_bucket``, ``_count`` and ``_sum`` of histograms."""
    signal = signals.METRICS[name]
    parts = [label(name)]
    unit, _, per = signal.unit.partition("/")
    if unit in _UNITS:
        parts.append(_UNITS[unit])
    if per:
        parts.append(f"per_{ {'s': 'second'}[per] }")
    if signal.kind == "counter":
        parts.append("total")
    return "_".join(parts)


def series(name: str) -> tuple[str, ...]:
    """Return the names of all series of a metric."""
    translated = metric(name)
    if signals.METRICS[name].kind == "histogram":
        return tuple(f"{translated}_{part}" for part in ("bucket", "count", "sum"))
    return (translated,)


def metrics_in(text: str) -> list[str]:
    """Return the signals whose series a query names."""
    words = set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text))
    return [name for name in signals.METRICS if words & {metric(name), *series(name)}]
