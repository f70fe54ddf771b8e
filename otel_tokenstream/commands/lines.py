"""One stream in one line of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.terminal import columns, shortened
from otel_tokenstream.analysis.units import printable

if TYPE_CHECKING:
    from otel_tokenstream.commands.viewer_client import Stream

_LEAST_OF_A_NAME = 12
_AWAITED = {"opening": "waits for its stream", "first_token": "waits for the first token", "tokens": "silent"}
_COLOURS = {"completed": 32, "failed": 31, "stalled": 31, "in progress": 34}


def state_of(stream: Stream) -> str:
    """Return the outcome; of a stream in progress what it waits for, and for how long."""
    running = stream.get("running")
    if running is None:
        return str(stream["outcome"] or "no span")
    if running["phase"] is None:
        return "in progress"
    return f"{_AWAITED[running['phase']]} {seconds(silent_us(stream) / 1e3)}"


def silent_us(stream: Stream) -> int:
    """For how long nothing has come of a stream in progress; a read that is blocked counts from its start."""
    running: dict[str, Any] = stream["running"]
    since = running["blocked_since_us"]
    return max(0, int(running["now_us"] - (running["arrived_us"] if since is None else since)))


def line_of(stream: Stream, width: int | None, *, coloured: bool, cut: bool = False) -> str:
    """Return id, model, state and figures, in a terminal of a ``width`` with as much of the name as fits.

    A name keeps a few columns, so that a line may be too long for the terminal; ``cut`` makes it fit.
    """
    state = printable(state_of(stream))
    parts = [
        seconds(stream["duration_ms"]),
        f"first {seconds(stream['time_to_first_token_ms'])}",
        f"{stream['chunks'] or 0} chunks",
    ]
    if stream["stall_count"]:
        stalls = "1 stall" if stream["stall_count"] == 1 else f"{stream['stall_count']} stalls"
        parts.append(f"{stalls}, {seconds(stream['stall_total_ms'])}")
    if stream["output_tokens"] is not None:
        parts.append(f"{stream['output_tokens']} tokens")
    if stream["error_type"]:
        parts.append(str(stream["error_type"]).rsplit(".", 1)[-1])
    name = f"{stream['service']} {stream['operation']} {stream['model']}".strip()
    head = printable(f"{stream['span_id'][:6]} {name}: ")
    text = printable(f"{state}, {', '.join(parts)}")
    if width is not None:
        room = max(width - 1 - columns(text), _LEAST_OF_A_NAME)
        if columns(head) > room:
            head = f"{shortened(head, room - 3)}…: "
        if cut:
            head = shortened(head, width - 1)
            text = shortened(text, width - 1 - columns(head))
    if not coloured:
        return head + text
    colour = _COLOURS["stalled"] if state.startswith("silent") else _COLOURS.get(state, 33)
    return f"{head}\x1b[{colour}m{text[: len(state)]}\x1b[0m{text[len(state) :]}"


def seconds(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.2f} s"
    whole = round(milliseconds / 1000)
    return f"{whole // 60}:{whole % 60:02} min"
