"""Facts that the OpenTelemetry API does not offer, read from private fields of the SDK: limits, locks, placeholders.

Each is absent in another SDK, or in a later version: the value then is the one that does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry._logs import Logger
    from opentelemetry.trace import Span

_EVENTS = 128  # the SDK's default


def longest_span_value(span: Span) -> int | None:
    """Return how many characters the SDK lets a span's attribute have, None for any number. It cuts longer ones."""
    limit: int | None = getattr(getattr(span, "_limits", None), "max_span_attribute_length", None)
    return limit


def longest_record_value(logger: Logger) -> int | None:
    """Return how many characters the SDK lets an attribute of a log record have, None for any number."""
    limits = getattr(getattr(logger, "_logger", logger), "_log_record_limits", None)
    longest: int | None = getattr(limits, "max_log_record_attribute_length", None)
    return longest


def most_events(span: Span) -> int:
    """Return how many events a span may have; beyond them the SDK drops the oldest ones."""
    limit = getattr(getattr(span, "_limits", None), "max_events", _EVENTS)
    return 1 << 30 if limit is None else int(limit)


def locks_of_collection(meter: Any) -> list[Any]:
    """Return the locks that the SDK itself does not mind when it forks, in the order in which it takes them."""
    consumer = getattr(getattr(meter, "_real_meter", None) or meter, "_measurement_consumer", None)
    locks = [getattr(consumer, "_lock", None)]
    locks += [getattr(reader, "_export_lock", None) for reader in getattr(consumer, "_reader_storages", ())]
    return [lock for lock in locks if lock is not None]


def is_placeholder(provider: object) -> bool:
    """Return whether a provider is the API's own, which leads nowhere."""
    return type(provider).__module__.startswith(("opentelemetry.metrics", "opentelemetry._logs"))
