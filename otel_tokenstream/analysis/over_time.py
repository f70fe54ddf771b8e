"""The same figures by time: fixed steps of UTC, or sessions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.groups import Group, group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.analysis.stream import Stream

STEPS = {"second": 1, "10s": 10, "minute": 60, "10min": 600, "hour": 3600, "day": 86400}
SESSION = "session"
AUTO = "auto"
CHOICES = (AUTO, *STEPS, SESSION)
SESSION_PAUSE_S = 1800
"""A session ends where no stream of its service runs for this long."""
_MOST_BUCKETS = 48


@dataclass(frozen=True)
class OverTime:
    """``buckets`` are in the order of time, by the start of their streams; times without a stream have none."""

    step: str
    step_s: int | None
    """None for sessions, which are as long as they are."""
    buckets: list[Group]


def over_time(streams: Sequence[Stream], step: str) -> OverTime:
    """``streams`` in the order of their starts. Raises ValueError if ``step`` is none of CHOICES."""
    if step not in CHOICES:
        message = f"{step!r} is no step of time; take one of {', '.join(CHOICES)}"
        raise ValueError(message)
    if step == SESSION:
        return OverTime(SESSION, None, _sessions(streams))
    step = _fitting(streams) if step == AUTO else step
    seconds = STEPS[step]
    found: defaultdict[int, list[Stream]] = defaultdict(list)
    for stream in streams:
        found[stream.start_ns // 10**9 // seconds * seconds].append(stream)
    return OverTime(
        step, seconds, [group_of({"start": utc(at * 10**9)}, members) for at, members in sorted(found.items())]
    )


def utc(ns: int) -> str:
    """To the second, as ISO 8601 has it."""
    return datetime.fromtimestamp(ns // 10**9, timezone.utc).isoformat().replace("+00:00", "Z")


def _fitting(streams: Sequence[Stream]) -> str:
    """The finest step that makes no more buckets than a plot can show."""
    seconds = (streams[-1].start_ns - streams[0].start_ns) / 1e9 if streams else 0
    return next((name for name, step in STEPS.items() if seconds / step < _MOST_BUCKETS), "day")


def _sessions(streams: Sequence[Stream]) -> list[Group]:
    by_service: defaultdict[str | None, list[list[Stream]]] = defaultdict(list)
    ends: dict[str | None, int] = {}
    for stream in streams:
        sessions = by_service[stream.service]
        if not sessions or stream.start_ns - ends[stream.service] > SESSION_PAUSE_S * 10**9:
            sessions.append([])
            ends[stream.service] = 0
        sessions[-1].append(stream)
        ends[stream.service] = max(ends[stream.service], stream.end_ns)
    groups = [
        group_of({"start": utc(members[0].start_ns), "service": service}, members)
        for service, sessions in by_service.items()
        for members in sessions
    ]
    return sorted(groups, key=lambda group: group.start_ns)
