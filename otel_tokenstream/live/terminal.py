"""Live events for a person: one line for each field, or one for each event."""

from __future__ import annotations

import os
import re
import sys
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from otel_tokenstream.live.events import EndEvent, StallEvent, StartEvent, StepEnd, StepNote, StepStart, TokenEvent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from otel_tokenstream.live.events import Event

    # Stream, field or kind, and tool call.
    Place = tuple[str, str, "int | None"]

Style = Literal["fields", "events"]

# Characters that move the cursor, colour, hide or reorder their neighbours: C0 and C1 controls,
# marks and overrides of writing direction, line separators, tags, halves of surrogate pairs.
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
# Text of a stream that waits while another one has the line.
_WAITING = 72
_COLOURS = (36, 33, 32, 35, 34, 31)


class Terminal:
    """A sink that writes to a terminal or file, standard error if none is given.

    With ``fields`` the text of a field grows on its line while it comes. One stream has the
    line; text of others is collected and written in lines of its own, so that two at once stay
    readable. With ``events`` each event has a line.
    """

    def __init__(self, stream: TextIO | None = None, *, style: Style = "fields") -> None:
        if style not in ("fields", "events"):
            message = f"style is 'fields' or 'events', not {style!r}"
            raise ValueError(message)
        self._stream = stream
        self._style = style
        self.forked()

    def forked(self) -> None:
        self._place: Place | None = None
        self._waiting: dict[Place, list[str]] = {}
        self._newest: dict[Place, TokenEvent] = {}
        self._counts: dict[Place, tuple[int, int]] = {}

    def handle(self, event: Event) -> None:
        if isinstance(event, TokenEvent):
            if self._style == "events":
                self._line(event, "•", _token(event))
            else:
                self._token(event)
            return
        if isinstance(event, StartEvent):
            self._line(event, "▶", _start(event))
        elif isinstance(event, EndEvent):
            self._finish(event)
            self._line(event, "■", _end(event))
        elif isinstance(event, StallEvent):
            awaited = "first token" if event.phase == "first_token" else "token"
            self._line(event, "▲", f"no {awaited} for {_seconds(event.wait_us)}")
        elif isinstance(event, StepStart):
            self._line(event, "▷", f"{escaped(event.name)}{_pairs(event.attributes)}{_pairs(event.correlation)}")
        elif isinstance(event, StepNote):
            self._line(event, "·", f"{escaped(event.name)}{_pairs(event.attributes)}")
        elif isinstance(event, StepEnd):
            error = f", {escaped(event.error_type)}" if event.error_type else ""
            self._line(event, "◁", f"{escaped(event.name)} in {_seconds(event.duration_us)}{error}")

    def close(self) -> None:
        self._leave_line()

    def _token(self, event: TokenEvent) -> None:
        if event.kind == "empty":
            return
        place = (event.stream_id, event.field or event.kind, event.tool_call)
        if event.text is None:
            chars, chunks = self._counts.get(place, (0, 0))
            self._counts[place] = (chars + event.chars, chunks + 1)
            return
        text = escaped(event.text)
        if not text:
            return
        if self._place is not None and self._place != place:
            if self._place[0] != event.stream_id:
                self._wait(event, place, text)
                return
            self._leave_line()
        if self._place is None:
            self._open_line(event, place)
        word = next((at for at, character in enumerate(text) if character.isspace()), -1)
        due = self._due() if word >= 0 else None
        if due is None:
            self._write(text)
            return
        self._write(text[: word + 1])
        self._leave_line()
        self._open_line(self._newest[due], due)
        if text[word + 1 :]:
            self._wait(event, place, text[word + 1 :])

    def _wait(self, event: TokenEvent, place: Place, text: str) -> None:
        waiting = self._waiting.setdefault(place, [])
        waiting.append(text)
        self._newest[place] = event
        if sum(map(len, waiting)) >= 2 * _WAITING:  # the other one does not come to the end of its word
            self._leave_line()
            self._open_line(event, place)

    def _due(self) -> Place | None:
        """Return who has waited for the line for long enough to have it after the next word."""
        return next((each for each, waiting in self._waiting.items() if sum(map(len, waiting)) >= _WAITING), None)

    def _finish(self, event: EndEvent) -> None:
        """Write what still waits of a stream that has ended."""
        if self._place is not None and self._place[0] == event.stream_id:
            self._leave_line()
        self._write_waiting(event)
        for place in [each for each in self._counts if each[0] == event.stream_id]:
            chars, chunks = self._counts.pop(place)
            self._line(event, "•", f"{_label(place)}: {chars} characters in {chunks} chunks")

    def _write_waiting(self, event: Event) -> None:
        for place in [each for each in self._waiting if each[0] == event.stream_id]:
            self._newest.pop(place, None)
            self._line(event, "•", f"{_label(place)}: {''.join(self._waiting.pop(place))}")

    def _open_line(self, event: TokenEvent, place: Place) -> None:
        """Give a stream the line; what waited of it comes first."""
        waited = "".join(self._waiting.pop(place, ()))
        self._newest.pop(place, None)
        self._write_waiting(event)
        self._place = place
        self._write(f"{self._prefix(event, '•')} {_label(place)}: {waited}")

    def _leave_line(self) -> None:
        if self._place is not None:
            self._place = None
            self._write("\n")

    def _line(self, event: Event, mark: str, text: str) -> None:
        self._leave_line()
        self._write(f"{self._prefix(event, mark)} {text}\n")

    def _prefix(self, event: Event, mark: str) -> str:
        at = datetime.fromtimestamp(event.at_ns / 1e9).astimezone()
        time, about = f"{at:%H:%M:%S}.{at.microsecond // 1_000:03}", f"{mark} {event.stream_id[:6]}"
        if not self._coloured():
            return f"{time} {about}"
        colour = _COLOURS[zlib.crc32(event.stream_id.encode()) % len(_COLOURS)]
        return f"\x1b[2m{time}\x1b[0m \x1b[{colour}m{about}\x1b[0m"

    def _coloured(self) -> bool:
        stream = self._stream or sys.stderr
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()

    def _write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


def escaped(text: str) -> str:
    """Return a text that does nothing to a terminal but to be read."""
    return _CONTROLS.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else f"\\U{code:08x}"


def _start(event: StartEvent) -> str:
    called = "stream" if event.stream else "call"
    about = f"{event.operation} {event.model} ({event.provider}), {called}"
    return escaped(about) + _pairs(event.correlation)


def _label(place: Place) -> str:
    _, name, number = place
    return escaped(name) if number is None else f"{escaped(name)}#{number}"


def _token(event: TokenEvent) -> str:
    place = _label((event.stream_id, event.field or event.kind, event.tool_call))
    said = f"{event.chars} characters" if event.text is None else f'"{escaped(event.text)}"'
    return f"{place} {event.index}: {said} +{event.gap_us / 1e3:.0f} ms"


def _end(event: EndEvent) -> str:
    parts = [f"{event.operation} {event.model} {event.outcome} in {_seconds(event.duration_us)}"]
    if event.error_type:
        parts.append(event.error_type)
    if event.opening_us is not None:
        parts.append(f"opened after {_seconds(event.opening_us)}")
    if event.first_token_us is not None:
        parts.append(f"first token after {_seconds(event.first_token_us)}")
    if event.output_tokens is not None:
        parts.append(f"{event.output_tokens} tokens")
    if event.chunks:
        parts.append(f"{event.chunks} chunks")
    if event.finish_reason is not None:
        parts.append(event.finish_reason)
    if event.dropped:
        parts.append(f"{event.dropped} not shown")
    return escaped(", ".join(parts))


def _pairs(values: Mapping[str, object]) -> str:
    return escaped("".join(f" {name}={value}" for name, value in values.items()))


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1e6:.2f} s"
