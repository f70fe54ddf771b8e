"""Stalls of a stream that were told while they lasted, with the wait so far, and what became of them."""

from __future__ import annotations

from typing import Any

from otel_tokenstream import signals

Json = dict[str, Any]


def whole_stalls(events: list[Json], on_span: list[Json]) -> list[Json]:
    """Return the events of a log, each stall once and with all of its wait, as far as that is told anywhere.

    ``on_span`` are the stalls of the span. A record of a read that was still blocked stays only where its end was
    told nowhere, and where it waited for the first token, which is no stall.
    """
    stalls = {event.get("index"): event for event in on_span}
    stalls |= {event.get("index"): event for event in events if _is_stall(event) and "phase" not in event}
    tokens = {event.get("index"): event for event in events if event["name"] == signals.TOKEN_EVENT}
    for event in events:
        if _is_stall(event) and event.get("phase") == "tokens":
            stalls.setdefault(event.get("index"), _until(event, tokens.get(event.get("index"))))
    return [event for event in events if not _is_stall(event) or event.get("phase") == "first_token"] + [
        *stalls.values()
    ]


def _is_stall(event: Json) -> bool:
    return bool(event["name"] == signals.STALL_EVENT)


def _until(stall: Json, chunk: Json | None) -> Json:
    """Return a stall as it was when its chunk came; an application before this record was repeated told no more."""
    if chunk is None or "offset_us" not in chunk or "offset_us" not in stall:
        return stall
    longer = max(chunk["offset_us"] - stall["offset_us"], 0)
    whole = {key: value for key, value in stall.items() if key != "phase"}
    return {
        **whole,
        "offset_us": stall["offset_us"] + longer,
        "wait_us": stall.get("wait_us", 0) + longer,
        "gap_us": stall.get("gap_us", 0) + longer,
        "time_unix_ns": chunk["time_unix_ns"],
    }
