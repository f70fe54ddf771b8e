from __future__ import annotations

import io
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import cli, signals
from otel_tokenstream.analysis.terminal import columns
from otel_tokenstream.commands import follow, followed
from otel_tokenstream.commands.lines import line_of
from otel_tokenstream.commands.viewer_client import ViewerClient
from tests.viewer.scenes import Stream, events_of, new_context, paced

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.viewer.server import Viewer
    from tests.analysis.answering import Server
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
    streams, _ = followed.open_streams(ViewerClient(viewer.url), {})
    for _ in range(2):
        screen.draw(list(streams.values()), head="1 open")

    first, second = out.getvalue().split("\x1b[2F\x1b[J")
    assert first.startswith("1 open\n")
    assert second.startswith("1 open\n")
    assert "\x1b[2J" not in out.getvalue()


WIDE = "通义千问大模型超长名字的版本" * 3


@pytest.mark.parametrize("model", ["gpt-4o-mini", WIDE])
@pytest.mark.parametrize("width", [10, 60, 80, 100, 200])
@pytest.mark.parametrize("coloured", [False, True])
def test_a_line_that_is_drawn_fits_the_terminal(model: str, width: int, coloured: bool) -> None:
    """One that wraps would be wiped by half, and a copy of it stay at every look."""
    line = line_of(running_for_long(model), width, coloured=coloured, cut=True)
    assert columns(re.sub("\x1b\\[[0-9]*m", "", line)) < width
    assert line.count("\x1b") == 2 * coloured
    if width == 80:
        assert line.startswith("6709d1 ")
        assert ": " in line
        assert "silent 15.85 s" in line


def test_a_line_that_stays_has_all_figures() -> None:
    """The name is cut for them, and it may wrap."""
    line = line_of(running_for_long(WIDE), 60, coloured=False)
    assert line.endswith("1234 chunks, 2 stalls, 18.85 s")
    assert WIDE not in line


def running_for_long(model: str) -> dict[str, Any]:
    running = {"phase": "tokens", "now_us": 23_850_000, "blocked_since_us": 8_000_000, "arrived_us": 8_000_000}
    measured = {"duration_ms": 23_850, "time_to_first_token_ms": 1_230, "chunks": 1234}
    stalls = {"stall_count": 2, "stall_total_ms": 18_850, "output_tokens": None, "error_type": None}
    names = {"span_id": "6709d1a03b2c1d0e", "service": "svc", "operation": "chat", "model": model, "outcome": None}
    return {**names, **measured, **stalls, "running": running}


def test_top_shows_streams_of_every_page(
    viewer: Viewer, application: Callable[..., Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest, which may hang, as well as the newest; the head counts as the viewer does."""
    monkeypatch.setattr("otel_tokenstream.commands.viewer_client.MOST_OF_A_PAGE", 2)
    app = application()
    open_stream(app, "hanging", 4, silent_for=42)
    for number in range(4):
        open_stream(app, f"newer-{number}", 4)
    out = io.StringIO()
    follow.top(arguments(viewer), out)

    head, *lines = out.getvalue().splitlines()
    assert head == "5 open, 1 stalled"
    assert len(lines) == 5
    assert "chat hanging: silent 42." in lines[0]


@pytest.mark.parametrize("asked", [{}, {"outcome": "completed"}])
def test_a_stream_that_was_open_is_followed_to_its_end(
    viewer: Viewer, application: Callable[..., Application], monkeypatch: pytest.MonkeyPatch, asked: dict[str, str]
) -> None:
    """However many newer ones have begun and ended meanwhile; each end is told once."""
    monkeypatch.setattr(followed, "_NEWEST", 2)
    app = application()
    long, context, start_ns = Stream(paced(4), model="long"), new_context(), time.time_ns() - 60 * 10**9
    app.log_events(long, context, start_ns, events_of(long))
    look = followed.Followed(ViewerClient(viewer.url), asked).look
    ended, still_open = look()
    assert ended == []
    assert [each["model"] for each in still_open] == ([] if asked else ["long"])

    for number in range(5):
        app.stream(Stream(paced(3), model=f"short-{number}"))
    ended, _ = look()
    assert [each["model"] for each in ended] == [f"short-{number}" for number in range(5)]

    monkeypatch.setattr(app.traces.id_generator, "generate_trace_id", lambda: context.trace_id)
    monkeypatch.setattr(app.traces.id_generator, "generate_span_id", lambda: context.span_id)
    app.stream(long, start_ns)
    ended, still_open = look()
    assert [each["model"] for each in ended] == ["long"]
    assert still_open == []
    assert look() == ([], [])


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, _: str) -> int:
        raise BrokenPipeError

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


@pytest.mark.parametrize("command", [follow.tail, follow.top])
def test_a_reader_that_has_seen_enough_ends_the_command(
    command: Callable[..., int], viewer: Viewer, application: Callable[..., Application]
) -> None:
    """As head does, without a traceback."""
    app = application()
    app.stream(Stream(paced(3)))
    open_stream(app, "m", 4)
    assert command(arguments(viewer, once=False), Gone()) == 0


@pytest.mark.parametrize("command", ["tail", "top"])
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (200, b"[]"),
        (200, b"3"),
        (200, b"<html>"),
        (400, b"<html>"),
        (400, b"[]"),
        (404, b""),
        (None, b"?"),
    ],
)
def test_a_server_that_is_no_viewer_is_told(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str], command: str, status: int | None, body: bytes
) -> None:
    """Whatever it answers."""
    url = serve(status, body).url
    assert cli.main([command, "--once", "--url", url]) == 1
    expected = f"otel-tokenstream {command}: {url} is no viewer; give another address or port\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "nonsense", "http://[::1"])
def test_an_address_that_is_none_is_told(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As any other that is wrong."""
    assert cli.main(["tail", "--once", "--url", url]) == 1
    assert f"{url} is no viewer" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["tail", "top"])
def test_without_a_viewer_the_command_says_how_to_start_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no traceback."""
    assert cli.main([command, "--url", "http://127.0.0.1:9"]) == 1
    expected = f"otel-tokenstream {command}: no viewer answers at http://127.0.0.1:9; start one: otel-tokenstream view"
    assert capsys.readouterr().err.strip() == expected
