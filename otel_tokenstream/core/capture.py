"""A call whose content is captured, for its span or its record: the prompt as it was given, the answer as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.core import text
from otel_tokenstream.core.generation import Generation, Request, ToolCallPiece
from otel_tokenstream.core.redaction import kept_for
from otel_tokenstream.core.timeline import TEXT, TOOL_CALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.core.generation import Recorder
    from otel_tokenstream.core.redaction import Hook
    from otel_tokenstream.core.timeline import Timeline
    from otel_tokenstream.settings import Settings

_RUNS_KEPT = 64
_RUNS_FULL = 4


class Run:
    """One part of a streamed answer: the text, reasoning or refusal of a choice, or one tool call's arguments."""

    __slots__ = ("call_id", "choice", "kind", "missing", "name", "pieces", "room")

    def __init__(self, choice: int, kind: str, room: int) -> None:
        self.choice = choice
        self.kind = kind
        self.call_id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.room = room
        self.missing = 0  # bytes there was no room for


class Transcript:
    """Prompt and answer of one call, in constant memory beside the caller's own messages."""

    __slots__ = ("_keys", "_left", "_room", "answers", "prompt", "runs", "system", "tools")

    def __init__(self, request: Request, limit: int, hook: Hook | None) -> None:
        # A copy, because programs append the answer and the next question to the list they sent.
        self.prompt = _copied(request.messages)
        self.system = request.system
        self.tools = _copied(request.tools)
        self.answers: dict[int, Any] = {}
        self.runs: list[Run] = []
        self._keys: dict[tuple[int, str, int], Run] = {}
        self._room = kept_for(hook, limit)
        self._left = self._room * _RUNS_FULL

    def add(self, choice: int, kind: str, position: int, piece: str) -> Run | None:
        """Append to a run; None for one beyond those that are kept."""
        key = (choice, kind, position)
        if key not in self._keys:
            if len(self.runs) == _RUNS_KEPT:
                return None
            self._keys[key] = Run(choice, kind, self._room)
            self.runs.append(self._keys[key])
        run = self._keys[key]
        kept = "" if run.missing else text.head(piece, min(run.room, self._left))
        length = text.size(kept)
        run.missing += text.size(piece) - length
        if kept:
            run.pieces.append(kept)
            run.room -= length
            self._left -= length
        return run

    def release(self) -> None:
        """Let go of everything: the call has ended, and the caller may keep its stream."""
        self.prompt = self.system = self.tools = None
        self.answers, self.runs, self._keys, self._left = {}, [], {}, 0


class Captured(Generation):
    """A generation that keeps what is said, apart from when it was said."""

    __slots__ = ("transcript",)

    def __init__(
        self, request: Request, recorder: Recorder, timeline: Timeline, context: Any, settings: Settings
    ) -> None:
        self.transcript = Transcript(request, min(settings.value_limit, settings.content_share), settings.redact)
        super().__init__(request, recorder, timeline, context)

    def text(self, asked: int, arrived: int, text: str) -> None:
        super().text(asked, arrived, text)
        self.transcript.add(0, TEXT, 0, text)

    def plain_run(self) -> None:
        return None

    def generated(self, asked: int, arrived: int, kind: str, text: str, choice: int = 0) -> None:
        super().generated(asked, arrived, kind, text, choice)
        self.transcript.add(choice, kind, 0, text)

    def tool_calls(self, asked: int, arrived: int, pieces: Sequence[ToolCallPiece], choice: int = 0) -> None:
        super().tool_calls(asked, arrived, pieces, choice)
        for position, call_id, name, arguments in pieces:
            run = self.transcript.add(choice, TOOL_CALL, position, arguments)
            if run is not None:
                run.call_id = run.call_id or call_id
                run.name = run.name or name

    def answered(self, message: object, choice: int = 0) -> None:
        self.transcript.answers[choice] = message


def _copied(given: object) -> object:
    return list(given) if isinstance(given, (list, tuple)) else given
