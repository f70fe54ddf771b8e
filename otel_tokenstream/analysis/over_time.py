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
_LONGEST = "day"
_MOST_BUCKETS = 48
_MOST_ASKED_BUCKETS = 500
"""Where a step was asked for."""


@dataclass(frozen=True)
class OverTime:
    """``buckets`` are in the order of time, by the start of their streams; times without a stream have none."""

    step: str
    step_s: int | None
    """None for sessions, which are as long as they are."""
    buckets: list[Group]


def over_time(streams: Sequence[Stream], step: str) -> tuple[OverTime, str]:
    """``streams`` in the order of their starts; with a note where it is not what was asked for.

    Raises ValueError if ``step`` is none of CHOICES.
    """
    if step not in CHOICES:
        message = f"{step!r} is no step of time; take one of {', '.join(CHOICES)}"
        raise ValueError(message)
    if step == SESSION:
        return _by_session(streams)
    asked, step = step, _fitting(streams) if step == AUTO else step
    found = _divided(streams, step)
    while len(found) > _MOST_ASKED_BUCKETS and step != _LONGEST:
        step = list(STEPS)[list(STEPS).index(step) + 1]
        found = _divided(streams, step)
    note = f"by {asked} there would be more than {_MOST_ASKED_BUCKETS} columns: shown by {step}"
    buckets = sorted(found.items())
    if len(buckets) > _MOST_ASKED_BUCKETS:
        note = f"only the newest {_MOST_ASKED_BUCKETS} of {len(buckets):,} days are shown over time"
        buckets = buckets[-_MOST_ASKED_BUCKETS:]
    elif asked in {step, AUTO}:
        note = ""
    seconds = STEPS[step]
    groups = [group_of({"start": utc(at * seconds * 10**9)}, members) for at, members in buckets]
    return OverTime(step, seconds, groups), note


def _divided(streams: Sequence[Stream], step: str) -> dict[int, list[Stream]]:
    """By the number of the step since 1970."""
    found: defaultdict[int, list[Stream]] = defaultdict(list)
    for stream in streams:
        found[stream.start_ns // 10**9 // STEPS[step]].append(stream)
    return found


def utc(ns: int) -> str:
    """To the second, as ISO 8601 has it."""
    return datetime.fromtimestamp(ns // 10**9, timezone.utc).isoformat().replace("+00:00", "Z")


def _fitting(streams: Sequence[Stream]) -> str:
    """The finest step that makes no more buckets than a plot can show."""
    seconds = (streams[-1].start_ns - streams[0].start_ns) / 1e9 if streams else 0
    return next((name for name, step in STEPS.items() if seconds / step < _MOST_BUCKETS), _LONGEST)


def _by_session(streams: Sequence[Stream]) -> tuple[OverTime, str]:
    by_service: defaultdict[str | None, list[list[Stream]]] = defaultdict(list)
    ends: dict[str | None, int] = {}
    for stream in streams:
        sessions = by_service[stream.service]
        if not sessions or stream.start_ns - ends[stream.service] > SESSION_PAUSE_S * 10**9:
            sessions.append([])
            ends[stream.service] = 0
        sessions[-1].append(stream)
        ends[stream.service] = max(ends[stream.service], stream.end_ns)
    found = sorted(
        ((service, members) for service, sessions in by_service.items() for members in sessions),
        key=lambda each: each[1][0].start_ns,
    )
    kept = found[-_MOST_ASKED_BUCKETS:]
    note = f"only the newest {len(kept)} of {len(found):,} sessions are shown" if len(kept) < len(found) else ""
    buckets = [group_of({"start": utc(members[0].start_ns), "service": service}, members) for service, members in kept]
    return OverTime(SESSION, None, buckets), note
