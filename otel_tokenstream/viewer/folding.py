"""The events of a long stream, few enough for its page."""

from __future__ import annotations

from typing import Any

from otel_tokenstream import signals

Json = dict[str, Any]

_SUMS = ("wait_us", "chars", "text")


def folded(events: list[Json], most: int) -> list[Json]:
    """Return at most ``most`` events, of one stream in their order: tokens of one kind and field share events.

    As in the events of a span, such an event has the position of its first chunk, the longest gap, and the sums of
    waits, characters and chunks. Where there are too many other events, the newest stay.
    """
    while len(events) > most:
        fewer = _halved(events)
        if len(fewer) == len(events):
            return events[-most:]
        events = fewer
    return events


def _halved(events: list[Json]) -> list[Json]:
    result: list[Json] = []
    single: dict[tuple[Any, Any], Json] = {}
    for event in events:
        key = (event.get("kind"), event.get("field"))
        if event["name"] != signals.TOKEN_EVENT:
            result.append(event)
        elif key in single:
            _add(single.pop(key), event)
        else:
            single[key] = dict(event)
            result.append(single[key])
    return result


def _add(event: Json, later: Json) -> None:
    event["count"] = event.get("count", 1) + later.get("count", 1)
    if "gap_us" in later:
        event["gap_us"] = max(event.get("gap_us", 0), later["gap_us"])
    for name in _SUMS:
        if name in later:
            event[name] = event[name] + later[name] if name in event else later[name]
