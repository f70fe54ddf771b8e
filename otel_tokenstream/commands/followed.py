"""The viewer's streams from look to look: which are open, and which have ended meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tokenstream.commands.viewer_client import Stream, ViewerClient

_NEWEST = 200


def open_streams(client: ViewerClient, asked: dict[str, str]) -> tuple[dict[str, Stream], int]:
    """Return all open streams by their ids, the oldest first, and how many the viewer counts."""
    found: dict[str, Stream] = {}
    count = 0
    for page in client.pages({**asked, "outcome": "in_progress", "sort": "start"}):
        count = page.summary["open"]
        found.update(_by_id(each for each in page.streams if each["in_progress"]))
    return found, count


class Followed:
    """Streams that are asked for; one that was open once is asked for until it has ended."""

    def __init__(self, client: ViewerClient, asked: dict[str, str]) -> None:
        self._client = client
        self._asked = asked
        self._shows_open = asked.get("outcome", "") in {"", "in_progress"}
        self._looked = False
        self._open: dict[str, Stream] = {}
        self._ended: set[str] = set()

    def look(self) -> tuple[list[Stream], list[Stream]]:
        """Return streams that have ended since the last look, and those that are open, each the oldest first."""
        still_open, _ = open_streams(self._client, self._asked)
        found = self._newest()
        found.update(self._again(self._open.keys() - still_open.keys() - found.keys()))
        ended = {key: each for key, each in found.items() if not each["in_progress"] and key not in self._ended}
        self._ended.update(ended)
        still_open.update((key, each) for key, each in found.items() if each["in_progress"])
        self._open = {key: each for key, each in still_open.items() if key not in self._ended}
        self._looked = True
        return _oldest_first(ended), _oldest_first(self._open) if self._shows_open else []

    def _newest(self) -> dict[str, Stream]:
        """Return the newest streams, after the first look back to one that is known."""
        found: dict[str, Stream] = {}
        for page in self._client.pages({**self._asked, "sort": "-start"}, _NEWEST):
            streams = _by_id(page.streams)
            found.update(streams)
            if not self._looked or not streams.keys().isdisjoint(self._ended | self._open.keys()):
                break
        return found

    def _again(self, keys: set[str]) -> dict[str, Stream]:
        """Return those of the streams that are still asked for, though they are neither open nor new."""
        found: dict[str, Stream] = {}
        for trace_id in {self._open[key]["trace_id"] for key in keys}:
            for page in self._client.pages({**self._asked, "trace": trace_id}):
                found.update((key, each) for key, each in _by_id(page.streams).items() if key in keys)
        return found


def _by_id(streams: Iterable[Stream]) -> dict[str, Stream]:
    return {f"{each['trace_id']}{each['span_id']}": each for each in streams}


def _oldest_first(streams: dict[str, Stream]) -> list[Stream]:
    return sorted(streams.values(), key=lambda each: int(each["start_unix_ns"]))
