"""A call whose content is captured, for its span or its record: the prompt as it was given, the answer as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import TEXT, TOOL_CALL
from otel_tokenstream.core.call.model_call import ModelCall, Start
from otel_tokenstream.core.content import messages
from otel_tokenstream.core.content.redaction import redaction_buffer_size
from otel_tokenstream.core.runtime import sanitize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tokenstream.core.call.interfaces import CallRecorder
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.call.timeline import Timeline
    from otel_tokenstream.core.call.tool_calls import ToolCallPiece
    from otel_tokenstream.core.content.redaction import RedactionHook
    from otel_tokenstream.settings import Settings

_RUNS_KEPT = 64
_RUNS_FULL = 4
_BLOCK = "block"


class Run:
    """One part of a streamed answer: the text, reasoning or refusal of a choice, or one tool call's arguments.

    Of content that is no text it has the ``parts``, ready made.
    """

    __slots__ = ("call_id", "choice", "kind", "missing", "name", "parts", "pieces", "room")

    def __init__(self, choice: int, kind: str, room: int) -> None:
        self.choice = choice
        self.kind = kind
        self.call_id: str | None = None
        self.name: str | None = None
        self.pieces: list[str] = []
        self.parts: list[messages.Part] | None = None
        self.room = room
        self.missing = 0  # bytes there was no room for


class Transcript:
    """Prompt and answer of one call, in constant memory beside the caller's own messages."""

    __slots__ = ("_keys", "_left", "_room", "answers", "prompt", "runs", "system", "tools")

    def __init__(self, request: Request, limit: int, hook: RedactionHook | None) -> None:
        # A copy, because programs append the answer and the next question to the list they sent.
        self.prompt = _copied(request.messages)
        self.system = request.system
        self.tools = _copied(request.tools)
        self.answers: dict[int, Any] = {}
        self.runs: list[Run] = []
        self._keys: dict[tuple[int, str, int], Run] = {}
        self._room = redaction_buffer_size(hook, limit)
        self._left = self._room * _RUNS_FULL

    def add(self, choice: int, kind: str, position: int, piece: str) -> Run | None:
        """Append to a run; None for one beyond those that are kept."""
        run = self.run(choice, kind, position)
        if run is None:
            return None
        kept = "" if run.missing else sanitize.head(piece, min(run.room, self._left))
        length = sanitize.size(kept)
        run.missing += sanitize.size(piece) - length
        if kept:
            run.pieces.append(kept)
            run.room -= length
            self._left -= length
        return run

    def run(self, choice: int, kind: str, position: int) -> Run | None:
        key = (choice, kind, position)
        if key not in self._keys:
            if len(self.runs) == _RUNS_KEPT:
                return None
            self._keys[key] = Run(choice, kind, self._room)
            self.runs.append(self._keys[key])
        return self._keys[key]

    def release(self) -> None:
        """Let go of everything: the call has ended, and the caller may keep its stream."""
        self.prompt = self.system = self.tools = None
        self.answers, self.runs, self._keys, self._left = {}, [], {}, 0


class Captured(ModelCall):
    """A call that keeps the text of its prompt and answer."""

    __slots__ = ("error_message", "transcript")

    def __init__(
        self,
        request: Request,
        recorder: CallRecorder,
        timeline: Timeline,
        context: Any,
        start: Start | None,
        settings: Settings,
    ) -> None:
        self.transcript = Transcript(request, min(settings.value_limit, settings.content_share), settings.redact)
        self.error_message: str | None = None
        super().__init__(request, recorder, timeline, context, start)

    def text(self, read_started: int, arrived: int, text: str) -> None:
        super().text(read_started, arrived, text)
        self.transcript.add(0, TEXT, 0, text)

    def plain_run(self) -> None:
        return None

    def generated(self, read_started: int, arrived: int, kind: str, text: str, choice: int = 0) -> None:
        super().generated(read_started, arrived, kind, text, choice)
        self.transcript.add(choice, kind, 0, text)

    def tool_calls(
        self, read_started: int, arrived: int, pieces: Sequence[ToolCallPiece], choice: int = 0
    ) -> list[int]:
        numbers = super().tool_calls(read_started, arrived, pieces, choice)
        for number, piece in zip(numbers, pieces, strict=True):
            self._keep_call(number, piece, choice)
        return numbers

    def tool_call_announced(self, read_started: int, arrived: int, piece: ToolCallPiece) -> int:
        number = super().tool_call_announced(read_started, arrived, piece)
        self._keep_call(number, piece, 0)
        return number

    def _keep_call(self, number: int, piece: ToolCallPiece, choice: int) -> None:
        _, call_id, name, arguments = piece
        run = self.transcript.add(choice, TOOL_CALL, number, arguments)
        if run is not None:
            run.call_id = run.call_id or call_id
            run.name = run.name or name

    def keep(self, content: object, at: int = -1, choice: int = 0) -> None:
        run = self.transcript.run(choice, _BLOCK, at if at >= 0 else ~len(self.transcript.runs))
        if run is not None:
            # Made at once: media are large, and only their type and size are kept.
            run.parts = messages.parts([content])

    def failed_by(self, error: BaseException) -> None:
        super().failed_by(error)
        self.error_message = str(error)

    def answered(self, message: object, choice: int = 0) -> None:
        self.transcript.answers[choice] = message


def _copied(given: object) -> object:
    return list(given) if isinstance(given, (list, tuple)) else given
