"""Numbers as people read them."""

from __future__ import annotations

import math
import re

ABSENT = "-"
_SECONDS_FROM = 1000.0
_MINUTES_FROM = 60_000.0
_LENGTHS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604_800}


def shown(value: float | None, unit: str) -> str:
    """With its unit where the unit is short; a dash for what was not measured."""
    if value is None:
        return ABSENT
    if unit == "ms":
        return duration(value)
    if unit == "USD":
        return f"${value:,.{_decimals(value)}f}"
    if unit == "1":
        return f"{value * 100:.1f} %"
    return significant(value)


def _decimals(value: float) -> int:
    """Cents, or as many as three digits need."""
    return 2 if not value or abs(value) >= 1 else 2 - math.floor(math.log10(abs(value)))


def duration(ms: float) -> str:
    size = abs(ms)
    if size >= _MINUTES_FROM:
        return f"{ms / 60_000:.1f} min"
    if size >= _SECONDS_FROM:
        return f"{ms / 1000:.2f} s"
    return f"{significant(ms)} ms"


def significant(value: float) -> str:
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def signed(value: float, unit: str) -> str:
    text = f"{value * 100:.1f} points" if unit == "1" else shown(abs(value), unit)
    if unit == "1":
        text = text.lstrip("-")
    return f"{'-' if value < 0 else '+' if value > 0 else ''}{text}"


def seconds(text: str) -> float:
    """Of a length of time such as 30m, 1h or 7d. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text, re.ASCII)
    if match is None:
        message = f"{text!r} is no length of time; write 30m, 1h or 7d"
        raise ValueError(message)
    return float(match[1]) * _LENGTHS[match[2]]


def tick_text(value: float, unit: str) -> str:
    """For an axis: round numbers without zeros behind the point."""
    if unit != "ms":
        return f"{value:,g}"
    for size, name in ((60_000, "min"), (1000, "s")):
        if value >= size:
            return f"{value / size:g} {name}"
    return f"{value:g} ms"


def printable(text: str) -> str:
    """Names come from outside: what would steer a terminal or reorder a line is shown by its code."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
