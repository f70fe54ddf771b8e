"""Scripts of answers: their parts and the times at which these are sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, cycle
from typing import Any, Literal

Kind = Literal["text", "reasoning", "tool_call", "refusal", "audio", "role", "no_choices"]

Ending = Literal[
    "natural",  # length if the request's limit cut the answer, tool_calls if it calls a tool, else stop
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "none",  # a proper end of the body, but no finish reason before it
    "cut",  # the connection closes in the middle of the body
    "reset",  # the same by a TCP reset
    "error_frame",  # an error object in the stream, under the HTTP status 200 already sent
    "http_error",  # Script.status instead of an answer
    "hang",  # silence until the client goes
]


@dataclass(frozen=True)
class Piece:
    """One delta of an answer. ``choice`` is None for every choice the request asked for.

    ``beside`` is what OpenAI's chat brings in the same chunk.
    """

    kind: Kind
    text: str = ""
    choice: int | None = None
    tool_index: int = 0
    tool_id: str = ""
    tool_name: str = ""
    beside: Piece | None = None


ROLE = Piece("role")
NO_CHOICES = Piece("no_choices")


def reasoning(text: str) -> Piece:
    return Piece("reasoning", text)


def refusal(text: str) -> Piece:
    return Piece("refusal", text)


def audio(transcript: str) -> Piece:
    return Piece("audio", transcript)


def tool_call(arguments: str, *, name: str = "", call_id: str = "", index: int = 0) -> Piece:
    """Give name and id with the first piece of a call only, as providers do."""
    return Piece("tool_call", arguments, tool_index=index, tool_id=call_id, tool_name=name)


Composer = Callable[[Mapping[str, Any]], Sequence["str | Piece"]]
"""Writes an answer from the body of a request; plain strings are text. The request's max_tokens limits it."""

Pace = Callable[[Sequence["str | Piece"], random.Random], Sequence[float]]
"""The gap in seconds before each piece after the first, and before the ending."""


@dataclass(frozen=True)
class Usage:
    """Token numbers to report. None: input by words of the prompt, output by pieces sent."""

    input: int | None = None
    output: int | None = None
    cached: int = 0
    written: int = 0
    """To the cache; only Anthropic's API reports it."""
    reasoning: int | None = None
    audio_input: int = 0
    audio_output: int = 0


@dataclass(frozen=True)
class Script:
    """How to answer one request. All times are in seconds.

    The ending has a place in the sequence like a piece: it comes one gap after the last piece
    sent, and ``pauses`` may name its index. The role frame is due together with the first
    piece, frames that close the stream together with the ending.
    """

    pieces: Sequence[str | Piece] | Composer | None = None
    """None answers the prompt in readable prose, or in the format a DSPy adapter asks for."""
    before_headers: float = 0.0
    first_piece: float | tuple[float, float] = 0.0
    """From the headers to the first piece; a pair is a range to draw from."""
    gap: float | Sequence[float] | Pace = 0.02
    """A sequence shorter than the answer starts over."""
    pauses: Mapping[int, float] = field(default_factory=dict)
    """Seconds added before the piece of this index."""
    ending: Ending = "natural"
    ends_after: int | None = None
    """Number of pieces before the ending; None sends all."""
    status: int = 500
    error_type: str = "server_error"
    error_message: str = "The scripted provider fails here on request."
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: Usage | None = field(default_factory=Usage)
    usage_unasked: bool = False
    """Send the usage frame also without stream_options.include_usage."""
    role_alone: bool = True
    """False puts the role into the first piece."""
    finish_alone: bool = True
    """False puts the finish reason into the last piece and drops the gap before the ending."""
    done_marker: bool = True
    response_model: str | None = None
    frames_per_write: int = 1
    """Frames are held back until so many are due; the last write may carry fewer."""
    bytes_per_write: int | None = None
    """Cut each write into pieces of this size, sent a millisecond apart."""

    def due(self, pieces: Sequence[str | Piece], seed: int) -> Iterator[float]:
        """Seconds from the headers to each piece and at last to the ending."""
        chance = random.Random(seed)  # noqa: S311 - a reproducible pace, no secret
        first = self.first_piece
        at = chance.uniform(*first) if isinstance(first, tuple) else first
        for index, gap in enumerate(chain((0.0,), self._gaps(pieces, chance))):
            at += gap + self.pauses.get(index, 0.0)
            yield at

    def _gaps(self, pieces: Sequence[str | Piece], chance: random.Random) -> Iterator[float]:
        if callable(self.gap):
            gaps: Sequence[float] = self.gap(pieces, chance)
        else:
            gaps = (self.gap,) if isinstance(self.gap, int | float) else self.gap
        return cycle(gaps)
