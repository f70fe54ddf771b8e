"""Set attributes of a span that were made here.

The SDK checks and copies each value, of a list each item. Plain values need neither, so the SDK's span
gets them as they are; any other value or span takes the public call.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_PLAIN = frozenset((str, int, float, bool))


def set_attributes(span: Span, attributes: dict[str, Any]) -> None:
    """Set attributes, with the effect of ``span.set_attributes``."""
    plain = _as_held(attributes)
    if plain is None or not _put(span, plain):
        span.set_attributes(attributes)


def _as_held(attributes: dict[str, Any]) -> dict[str, Any] | None:
    """Return attributes as the SDK keeps them; None where it would have to look at them."""
    held = dict(attributes)
    for name, value in attributes.items():
        if type(value) not in _PLAIN:
            if type(value) not in (list, tuple) or not _PLAIN.issuperset(map(type, value)):
                return None
            held[name] = tuple(value)
    return held


def _put(span: Any, plain: dict[str, Any]) -> bool:
    """Return whether the span is built as it is known here, has room, and has the attributes."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    attributes: Any = getattr(span, "_attributes", None)
    if sdk is None or type(span).__module__ != sdk.__name__ or type(attributes).__name__ != "BoundedAttributes":
        return False
    try:
        held, most = attributes._dict, attributes.maxlen  # noqa: SLF001
        with span._lock, attributes._lock:  # noqa: SLF001
            if (
                span._end_time is not None  # noqa: SLF001
                or attributes._immutable  # noqa: SLF001
                or attributes.max_value_len is not None
                or (most is not None and len(held) + len(plain) > most)
            ):
                return False
            for name in plain:  # a value that is set again comes last
                held.pop(name, None)
            held.update(plain)
    except AttributeError:
        return False
    return True
