"""An answer in any wire format: its pieces, finish reason and usage."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from otel_tokenstream.demo.provider.prose import text_of, token_like
from otel_tokenstream.demo.provider.replies import answer
from otel_tokenstream.demo.provider.script import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider.script import Script

encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter")


class Frame(NamedTuple):
    """One server-sent event, ready to be written. ``kind`` goes into the log."""

    data: bytes
    kind: str


class Counts(NamedTuple):
    """Tokens to report.

    Parts of the prompt are ``cached``, ``written`` or ``heard``, of the output ``reasoning`` or ``spoken``.
    """

    prompt: int
    cached: int
    output: int
    reasoning: int
    heard: int
    spoken: int
    written: int = 0


class ToolCall(NamedTuple):
    call_id: str
    name: str
    arguments: str


@dataclass
class Reply(ABC):
    """One answer to one request: its pieces, and the bytes they become."""

    stream_type: ClassVar[str] = "text/event-stream"

    script: Script
    request: Mapping[str, Any]
    number: int
    pieces: Sequence[str | Piece] = field(init=False)

    _too_long: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        pieces = self.script.pieces
        if pieces is None:
            pieces = answer
        if callable(pieces):
            pieces = pieces({**self.request, "messages": self.messages})
            limit = self.limit or len(pieces)
            self._too_long = limit < len(pieces)
            pieces = pieces[:limit]
        self.pieces = pieces if self.script.ends_after is None else pieces[: self.script.ends_after]

    # --- The request ----------------------------------------------------------------------

    @property
    @abstractmethod
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The prompt as messages of a chat."""

    @property
    def limit(self) -> int | None:
        """The longest answer asked for, in pieces."""
        return self.request.get("max_tokens")

    @property
    def choices(self) -> int:
        return int(self.request.get("n") or 1)

    @property
    def model(self) -> str:
        return str(self.script.response_model or self.request.get("model"))

    # --- The answer -----------------------------------------------------------------------

    @abstractmethod
    def opening(self) -> list[Frame]:
        """Frames just before the first piece."""

    @abstractmethod
    def frames(self, index: int) -> Iterator[Frame]:
        """The frames of one piece."""

    @abstractmethod
    def closing(self) -> list[Frame]:
        """Frames of the ending, if the body ends properly."""

    @abstractmethod
    def body(self) -> bytes:
        """The whole answer to a request that is not streamed."""

    @abstractmethod
    def error(self) -> bytes:
        """The error object."""

    def piece(self, index: int) -> Piece:
        piece = self.pieces[index]
        return Piece("text", piece) if isinstance(piece, str) else piece

    @property
    def finish_reason(self) -> str | None:
        """The reason in the words of OpenAI's chat; None where the script withholds it."""
        ending = self.script.ending
        if ending == "natural":
            if self._too_long:
                return "length"
            calls = any(isinstance(piece, Piece) and piece.kind == "tool_call" for piece in self.pieces)
            return "tool_calls" if calls else "stop"
        return ending if ending in _FINISH_REASONS else None

    def texts(self, choice: int = 0) -> dict[str, str]:
        """Return the whole text of a choice by kind of piece."""
        texts = {"text": "", "reasoning": "", "refusal": ""}
        for index in range(len(self.pieces)):
            piece = self.piece(index)
            if piece.kind in texts and piece.choice in (None, choice):
                texts[piece.kind] += piece.text
        return texts

    def calls(self, choice: int = 0) -> list[ToolCall]:
        calls: dict[int, ToolCall] = {}
        for index in range(len(self.pieces)):
            piece = self.piece(index)
            if piece.kind == "tool_call" and piece.choice in (None, choice):
                call = calls.setdefault(piece.tool_index, ToolCall(piece.tool_id, piece.tool_name, ""))
                calls[piece.tool_index] = call._replace(arguments=call.arguments + piece.text)
        return list(calls.values())

    def counts(self) -> Counts | None:
        """None where the script reports no usage."""
        usage = self.script.usage
        if usage is None:
            return None
        kinds = [self.piece(index).kind for index in range(len(self.pieces))]
        output, prompt = usage.output, usage.input
        if output is None:
            output = self.choices * sum(kind not in ("role", "no_choices") for kind in kinds)
        if prompt is None:
            prompt = sum(len(token_like(text_of(message))) for message in self.messages)
        reasoning = kinds.count("reasoning") if usage.reasoning is None else usage.reasoning
        return Counts(prompt, usage.cached, output, reasoning, usage.audio_input, usage.audio_output, usage.written)
