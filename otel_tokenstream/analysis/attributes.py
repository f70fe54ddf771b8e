"""Attributes as they come from outside: of any type, whatever the name promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Attributes = dict[str, Any]


LARGEST = 2**53 - 1
"""Above any true time, count or price, and exact in JavaScript; sums of many such numbers stay finite."""

_SMALLEST = 1e-12
"""Of numbers other than 0: a ratio of two of them stays finite."""


def integer(attributes: Mapping[str, Any], name: str) -> int | None:
    """The attribute as an integer from 0 to LARGEST, to which larger ones are cut.

    None where it is absent, negative or of another type.
    """
    value = attributes.get(name)
    if type(value) is int and 0 <= value <= LARGEST:  # a hundred times a stream
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return min(value, LARGEST)


def number(attributes: Mapping[str, Any], name: str) -> float | None:
    """The attribute as a number from 0 to LARGEST, to which larger ones are cut.

    None where it is absent, negative, not finite or of another type.
    """
    value = attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value < 0:
        return None
    return float(min(value, LARGEST)) if value >= _SMALLEST else 0.0


def text(attributes: Mapping[str, Any], name: str) -> str | None:
    """The attribute as text; None where it is absent or empty."""
    value = attributes.get(name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value) or None
    return None if value is None or value == "" else str(value)
