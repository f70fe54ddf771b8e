from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import cli, signals
from otel_tokenstream.commands import follow
from tests.viewer.scenes import Stream, events_of, new_context, paced

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.scenes import Application


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def arguments(viewer: Viewer, **more: Any) -> Any:
    from argparse import Namespace

    words = dict.fromkeys(("token", "service", "model", "operation", "outcome", "search"))
    return Namespace(**{**words, "url": viewer.url, "once": True, **more})


def open_stream(app: Application, model: str, chunks: int, *, silent_for: int = 0) -> None:
    """A stream in progress; with ``silent_for`` seconds a read has been blocked so long."""
    stream = Stream(paced(chunks), model=model)
    start_ns = time.time_ns()
    events = events_of(stream)
    context = new_context()
    app.log_events(stream, context, start_ns, events)
    if silent_for:
        last = stream.chunks[-1].offset_us
        stall = {
            signals.AT_OFFSET_US: last + silent_for * 1_000_000,
            signals.AT_GAP_US: silent_for * 1_000_000,
            signals.AT_INDEX: chunks,
            signals.AT_WAIT_US: silent_for * 1_000_000,
            signals.AT_PHASE: "tokens",
        }
        app.log_events(stream, context, start_ns, [(signals.STALL_EVENT, stall)])


def test_tail_has_a_line_for_each_stream_with_its_end(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Outcome, duration, first token, chunks and the error's class."""
    app = application("shop")
    app.stream(Stream(paced(20), model="good"))
    app.stream(Stream(paced(9), model="bad", outcome="failed", error_type="litellm.exceptions.Timeout"))
    out = io.StringIO()
    follow.tail(arguments(viewer), out)

    good, bad = out.getvalue().splitlines()
    assert "shop chat good: completed, " in good
    assert "first 400 ms, 20 chunks, 20 tokens" in good
    assert "failed" in bad
    assert bad.endswith("Timeout")


def test_tail_shows_the_streams_of_a_filter(viewer: Viewer, application: Callable[..., Application]) -> None:
    """By name, by outcome or by any word."""
    app = application()
    app.stream(Stream(paced(3), model="one"))
    app.stream(Stream(paced(3), model="two", outcome="cancelled"))
    for asked in ({"model": "two"}, {"outcome": "cancelled"}, {"search": "two"}):
        out = io.StringIO()
        follow.tail(arguments(viewer, **asked), out)
        (line,) = out.getvalue().splitlines()
        assert "chat two: cancelled" in line


def test_top_has_silent_streams_first(viewer: Viewer, application: Callable[..., Application]) -> None:
    """How many are open and stalled, then a line for each; those that ended are left out."""
    app = application()
    open_stream(app, "lively", 4)
    open_stream(app, "hanging", 4, silent_for=42)
    open_stream(app, "slow", 4, silent_for=7)
    app.stream(Stream(paced(3), model="over"))
    out = io.StringIO()
    follow.top(arguments(viewer), out)

    head, *lines = out.getvalue().splitlines()
    assert head == "3 open, 2 stalled"
    assert ["hanging" in lines[0], "slow" in lines[1], "lively" in lines[2]] == [True] * 3
    assert ": silent 42." in lines[0]
    assert "1 stall, 42." in lines[0]


def test_a_terminal_is_drawn_in_place(viewer: Viewer, application: Callable[..., Application]) -> None:
    """Lines of open streams are replaced, and a name that comes from outside does nothing to the terminal."""
    open_stream(application(), "model\x1b[2J", 4)
    out = Tty()
    screen = follow.Screen(out)
    client = follow.ViewerClient(viewer.url)
    for _ in range(2):
        screen.draw(client.streams(outcome="in_progress"), head="1 open")

    first, second = out.getvalue().split("\x1b[2F\x1b[J")
    assert first.startswith("1 open\n")
    assert second.startswith("1 open\n")
    assert "\x1b[2J" not in out.getvalue()


@pytest.mark.parametrize("command", ["tail", "top"])
def test_without_a_viewer_the_command_says_how_to_start_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no traceback."""
    assert cli.main([command, "--url", "http://127.0.0.1:9"]) == 1
    expected = f"otel-tokenstream {command}: no viewer answers at http://127.0.0.1:9; start one: otel-tokenstream view"
    assert capsys.readouterr().err.strip() == expected
