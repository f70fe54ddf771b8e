"""Follow the viewer's streams in a terminal: all of them (tail), or those that are open (top)."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from otel_tokenstream.commands.lines import line_of, silent_us
from otel_tokenstream.commands.viewer_client import DEFAULT_URL, ViewerClient

if TYPE_CHECKING:
    import argparse

    from otel_tokenstream.commands.viewer_client import Stream

FILTERS = ("service", "model", "operation", "outcome")
_PERIOD = 0.5
_NEWEST = "200"
_BEFORE = 5


def add_arguments(parser: argparse.ArgumentParser, *, of_open: bool) -> None:
    parser.add_argument("--url", default=DEFAULT_URL, help=f"of the viewer; default {DEFAULT_URL}")
    parser.add_argument("--token", help="of a viewer that asks for one")
    parser.add_argument("--service", metavar="NAME")
    parser.add_argument("--model", metavar="NAME")
    parser.add_argument("--operation", metavar="NAME")
    if not of_open:
        parser.add_argument("--outcome", metavar="NAME", help="completed, failed, cancelled, closed, abandoned")
    parser.add_argument("--search", metavar="TEXT", help="words in names, ids and attributes")
    parser.add_argument("--once", action="store_true", help="print what there is now, and end")


def _asked(arguments: argparse.Namespace) -> dict[str, str]:
    given = {name: getattr(arguments, name, None) or "" for name in FILTERS}
    return {**given, "q": arguments.search or "", "limit": _NEWEST}


def tail(arguments: argparse.Namespace, out: TextIO | None = None) -> int:
    """Print one line a stream, oldest first: on a terminal updated in place, otherwise once it has ended."""
    client, asked = ViewerClient(arguments.url, arguments.token), _asked(arguments)
    screen = Screen(out or sys.stdout)
    shown: dict[str, Stream] | None = None
    while True:
        streams = {f"{each['trace_id']}{each['span_id']}": each for each in reversed(client.streams(**asked))}
        if shown is None:  # those that ended before are there to begin with, but not all of them
            ended = [key for key, each in streams.items() if not each["in_progress"]]
            shown = {key: streams[key] for key in (ended if not arguments.once else [])[:-_BEFORE]}
        fresh = {key: each for key, each in streams.items() if key not in shown}
        screen.print([each for each in fresh.values() if not each["in_progress"]])
        shown.update({key: each for key, each in fresh.items() if not each["in_progress"]})
        screen.draw([each for each in fresh.values() if each["in_progress"]], always=arguments.once)
        if arguments.once:
            return 0
        time.sleep(_PERIOD)


def top(arguments: argparse.Namespace, out: TextIO | None = None) -> int:
    """Show open streams, those that have been silent for longest first; on a terminal ever anew."""
    client, asked = ViewerClient(arguments.url, arguments.token), _asked(arguments)
    screen = Screen(out or sys.stdout)
    while True:
        streams = [each for each in client.streams(**{**asked, "outcome": "in_progress"}) if each.get("running")]
        streams.sort(key=silent_us, reverse=True)
        stalled = sum(each["running"]["phase"] == "tokens" for each in streams)
        head = f"{len(streams)} open, {stalled} stalled"
        screen.draw(streams, head=head, always=True)
        if arguments.once:
            return 0
        time.sleep(_PERIOD)


class Screen:
    """Lines that stay, and below them lines that are drawn anew; a file gets only those that stay."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_place = out.isatty() and os.environ.get("TERM") != "dumb"
        self._coloured = self._in_place and not os.environ.get("NO_COLOR")
        self._drawn = 0

    def print(self, streams: list[Stream]) -> None:
        if streams:
            self._wipe()
            for stream in streams:
                self._out.write(f"{self._line(stream)}\n")
            self._out.flush()

    def draw(self, streams: list[Stream], *, head: str = "", always: bool = False) -> None:
        """Draw what fits below the lines that stay; ``always`` writes it to a file too."""
        if not self._in_place and not always:
            return
        self._wipe()
        lines = [head] if head else []
        lines += [self._line(stream) for stream in streams]
        if self._in_place:
            room = max(shutil.get_terminal_size().lines - 1, 2)
            if len(lines) > room:
                lines = [*lines[: room - 1], f"and {len(lines) - room + 1} more"]
            self._drawn = len(lines)
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    def _line(self, stream: Stream) -> str:
        width = shutil.get_terminal_size().columns if self._in_place else None
        return line_of(stream, width, coloured=self._coloured)

    def _wipe(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0
