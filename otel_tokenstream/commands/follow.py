"""Follow the viewer's streams in a terminal: all of them (tail), or those that are open (top)."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from otel_tokenstream.analysis.terminal import shortened, write
from otel_tokenstream.commands.followed import Followed, open_streams
from otel_tokenstream.commands.lines import line_of, silent_us
from otel_tokenstream.commands.viewer_client import DEFAULT_URL, ViewerClient

if TYPE_CHECKING:
    import argparse

    from otel_tokenstream.commands.viewer_client import Stream

FILTERS = ("service", "model", "operation", "outcome")
_PERIOD = 0.5
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
    return {**given, "q": arguments.search or ""}


def tail(arguments: argparse.Namespace, out: TextIO | None = None) -> int:
    """Print one line a stream, oldest first: on a terminal updated in place, otherwise once it has ended."""
    followed = Followed(ViewerClient(arguments.url, arguments.token), _asked(arguments))
    screen = Screen(out or sys.stdout)
    ended, still_open = followed.look()
    if not arguments.once:  # those that ended before are there to begin with, but not all of them
        ended = ended[-_BEFORE:]
    while True:
        screen.print(ended)
        screen.draw(still_open, always=arguments.once)
        if arguments.once or not screen.is_read:
            return 0
        time.sleep(_PERIOD)
        ended, still_open = followed.look()


def top(arguments: argparse.Namespace, out: TextIO | None = None) -> int:
    """Show open streams, those that have been silent for longest first; on a terminal ever anew."""
    client, asked = ViewerClient(arguments.url, arguments.token), _asked(arguments)
    screen = Screen(out or sys.stdout)
    while True:
        found, count = open_streams(client, asked)
        streams = sorted(found.values(), key=silent_us, reverse=True)
        stalled = sum(each["running"]["phase"] == "tokens" for each in streams)
        screen.draw(streams, head=f"{count} open, {stalled} stalled", always=True)
        if arguments.once or not screen.is_read:
            return 0
        time.sleep(_PERIOD)


class Screen:
    """Lines that stay, and below them lines that are drawn anew; a file gets only those that stay."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_place = out.isatty() and os.environ.get("TERM") != "dumb"
        self._coloured = self._in_place and not os.environ.get("NO_COLOR")
        self._drawn = 0
        self.is_read = True
        """False once nobody reads the output any longer."""

    def print(self, streams: list[Stream]) -> None:
        if streams:
            lines = [line_of(each, self._width(), coloured=self._coloured) for each in streams]
            self._write(lines)

    def draw(self, streams: list[Stream], *, head: str = "", always: bool = False) -> None:
        """Draw what fits below the lines that stay; ``always`` writes it to a file too."""
        if not self._in_place and not always:
            return
        width = self._width()
        lines = [self._fitted(head)] if head else []
        lines += [line_of(each, width, coloured=self._coloured, cut=True) for each in streams]
        if self._in_place:
            room = max(shutil.get_terminal_size().lines - 1, 2)
            if len(lines) > room:
                lines = [*lines[: room - 1], self._fitted(f"and {len(lines) - room + 1} more")]
        self._write(lines)
        self._drawn = len(lines) if self._in_place else 0

    def _width(self) -> int | None:
        return shutil.get_terminal_size().columns if self._in_place else None

    def _fitted(self, text: str) -> str:
        width = self._width()
        return text if width is None else shortened(text, width - 1)

    def _write(self, lines: list[str]) -> None:
        """Write the lines in place of those that were drawn."""
        wipe = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        self._drawn = 0
        self.is_read = write(wipe + "".join(f"{line}\n" for line in lines), self._out)
