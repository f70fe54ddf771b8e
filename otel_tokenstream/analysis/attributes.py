"""Attributes as they come from outside: of any type, whatever the name promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Attributes = dict[str, Any]


def integer(attributes: Mapping[str, Any], name: str) -> int | None:
    """The attribute as an integer; None where it is absent or of another type."""
    value = attributes.get(name)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(attributes: Mapping[str, Any], name: str) -> float | None:
    """The attribute as a finite number; None where it is absent or of another type."""
    value = attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def text(attributes: Mapping[str, Any], name: str) -> str | None:
    """The attribute as text; None where it is absent or empty."""
    value = attributes.get(name)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value) or None
    return None if value is None or value == "" else str(value)
