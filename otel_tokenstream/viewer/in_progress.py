"""State of a stream at this moment, while it runs: its clock goes on between its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.attributes import LARGEST

if TYPE_CHECKING:
    from otel_tokenstream.viewer.progress import Progress


def running(progress: Progress, since_news_ns: int) -> dict[str, Any]:
    """Return what time changes of a stream in progress, ``since_news_ns`` after its last event was received.

    ``running`` has times in microseconds since the call: now, and since when a read is known to be blocked, in
    which phase. The clock is the viewer's from the last event on, so that clocks of two machines are not mixed.
    """
    now_us = min(progress.last_us + max(since_news_ns, 0) // 1000, LARGEST)
    since = progress.blocked_since_us
    phase = _phase(progress, since)
    changed: dict[str, Any] = {
        "duration_ms": now_us / 1e3,
        "running": {
            "now_us": now_us,
            "blocked_since_us": 0 if phase == "opening" else since,
            "phase": phase,
            "arrived_us": progress.arrived_us,
        },
    }
    if phase == "tokens" and since is not None:
        waits = {**progress.stalls, str(progress.blocked_index): now_us - since}
        changed["stall_count"] = len(waits)
        changed["stall_total_ms"] = round(min(sum(waits.values()), LARGEST) / 1000)
        changed["wait_max_ms"] = round(max(progress.wait_max_us or 0, now_us - since) / 1000)
        changed["gap_max_ms"] = round(max(progress.gap_max_us or 0, now_us - progress.arrived_us) / 1000)
    return changed


def _phase(progress: Progress, blocked_since: int | None) -> str | None:
    """Return what is waited for: opening, first_token or tokens; None where nobody is known to wait."""
    if progress.opened_us is None and progress.first_token_us is None and not progress.chunks:
        return "opening"
    if blocked_since is None:
        return None
    return "first_token" if progress.first_token_us is None else "tokens"
