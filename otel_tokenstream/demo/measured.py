"""The viewer's records, from its API, and as a table."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from otel_tokenstream.demo.children import get

Stream = dict[str, Any]

_COLOURS = {"completed": "green", "failed": "red"}


@dataclass(frozen=True)
class Viewer:
    url: str

    def streams(self) -> list[Stream]:
        """Finished calls, oldest first."""
        found: list[Stream] = self._get("streams")["streams"]
        return [stream for stream in reversed(found) if stream["outcome"]]

    def detail(self, stream: Stream) -> dict[str, Any]:
        """One call's attributes, events and the spans of its trace."""
        found: dict[str, Any] = self._get(f"streams/{stream['trace_id']}/{stream['span_id']}")
        return found

    def metrics(self) -> set[str]:
        return set(self._get("metrics")["metrics"])

    def settled(self, quiet: float = 1.5, within: float = 15.0) -> list[Stream]:
        """The streams, once their number did not change for ``quiet`` seconds and is not 0, or time is up."""
        deadline = time.monotonic() + within
        streams, since = self.streams(), time.monotonic()
        while time.monotonic() < deadline and (not streams or time.monotonic() - since < quiet):
            time.sleep(0.2)
            now = self.streams()
            if len(now) != len(streams):
                streams, since = now, time.monotonic()
        return streams

    def _get(self, path: str) -> Any:
        return json.loads(get(f"{self.url}/api/{path}"))


def table(streams: list[Stream]) -> Table:
    result = Table(
        title="What was measured", title_justify="left", caption_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    result.caption = (
        "Empty: the call was not streamed, or had no such thing. Wait: blocked on the provider.\n"
        "Opening: the call until it gave its stream. Consumer: time the program kept tokens before it asked for more."
    )
    for heading in ("program", "call", "outcome"):
        result.add_column(heading, overflow="fold")
    for heading in (
        "took",
        "opening",
        "first\ntoken",
        "gap p50 / p95 / max",
        "stalls",
        "longest\nwait",
        "consumer",
        "tokens/s",
    ):
        result.add_column(heading, justify="right")
    for stream in streams:
        outcome = stream["outcome"]
        rate = stream["output_rate"]
        result.add_row(
            stream["service"],
            f"{stream['operation']} {stream['model']}",
            f"[{_COLOURS.get(outcome, 'yellow')}]{outcome}[/]",
            _time(stream["duration_ms"]),
            _time(stream["opening_ms"]),
            _time(stream["time_to_first_token_ms"]),
            " / ".join(filter(None, (_time(stream[f"gap_{name}_ms"]) for name in ("p50", "p95", "max")))),
            _stalls(stream),
            _time(stream["wait_max_ms"]),
            _time(stream["consumer_total_ms"]),
            "" if rate is None else f"{rate:.0f}",
        )
    return result


def _time(milliseconds: float | None) -> str:
    """Empty where nothing was measured."""
    if milliseconds is None:
        return ""
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"


def _stalls(stream: Stream) -> str:
    if not stream["stall_count"]:
        return ""
    return f"[bold]{stream['stall_count']}[/] ({_time(stream['stall_total_ms'])})"
