"""The state of one model call: its request, its chunks, its outcome. Knows no OpenTelemetry."""

from __future__ import annotations

import time
from collections import deque
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.core.call.chunk_kinds import EMPTY, TEXT, TOOL_CALL
from otel_tokenstream.core.call.tool_calls import ToolCalls
from otel_tokenstream.core.runtime.guard import attempt, fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableSequence, Sequence

    from otel_tokenstream.core.call.interfaces import CallRecorder, Parser, StreamWatch
    from otel_tokenstream.core.call.request import Attempt, Request, Usage
    from otel_tokenstream.core.call.timeline import Row, Timeline
    from otel_tokenstream.core.call.tool_calls import ToolCall, ToolCallPiece

COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"
CLOSED = "closed"
ABANDONED = "abandoned"
OUTCOMES = (COMPLETED, FAILED, CANCELLED, CLOSED, ABANDONED)

# Rows wait in a small block before they are folded into the timeline: a block is cheaper than
# its rows one by one, and a small one keeps an open stream small.
_BLOCK = 16
RUN = 3 * 40
FIELDS_KEPT = 32
ATTEMPTS_KEPT = 8

now = time.perf_counter_ns
_NOWHERE: deque[Row] = deque(maxlen=0)


class Start(NamedTuple):
    """The same instant in ns of ``perf_counter_ns`` and of the wall clock."""

    clock: int
    wall: int

    @classmethod
    def now(cls) -> Start:
        return cls(now(), time.time_ns())


class ModelCall:
    """One call. ``chunk`` many times, ``end`` once; later calls of either change nothing.

    Times are ns of ``perf_counter_ns``; ``anchor`` is the wall clock in ns at ``started``.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_ending",
        "_field",
        "_keep_text",
        "_live",
        "_milestones_left",
        "_run",
        "_tool_calls",
        "anchor",
        "at_end",
        "attempt_count",
        "attempts",
        "attributes",
        "cache_hit",
        "closing",
        "context",
        "cost_usd",
        "drop",
        "ended",
        "error_type",
        "exception_type",
        "field_first",
        "finish_reasons",
        "first_answer_token",
        "first_token",
        "last_read",
        "library",
        "observed",
        "opened",
        "outcome",
        "parser",
        "read_started",
        "recorder",
        "request",
        "response_id",
        "response_model",
        "started",
        "timeline",
        "usage",
    )

    def __init__(
        self,
        request: Request,
        recorder: CallRecorder,
        timeline: Timeline,
        context: Any = None,
        start: Start | None = None,
    ) -> None:
        self.request = request
        self.recorder = recorder
        self.timeline = timeline
        self.context = context
        self._block: MutableSequence[Row] = []
        # Chunks of plain text, three numbers each: wait, arrived, characters. Newer than the block.
        self._run: list[int] = []
        self._live = recorder.live
        self.observed = recorder.observed
        # The timeline leaves text alone that it has no room for.
        self._keep_text = timeline.keeps_text or (self._live is not None and self._live.text)
        self._milestones_left = True
        self._field: str | None = None  # of the newest text
        self._tool_calls: ToolCalls | None = None
        self.parser: Parser | None = None
        # (arrived, gap, index) of the chunk that brought the first content of its kind
        self.first_token: tuple[int, int, int] | None = None
        self.first_answer_token: tuple[int, int, int] | None = None
        self.field_first: dict[str, int] = {}
        # (read_started, returned, whether a token was waited for) of the read that brought no chunk
        self.last_read: tuple[int, int, bool] | None = None
        self.outcome = ""
        # How the call will have ended, once the caller has begun to close it.
        self.closing = ""
        # Set by a reader when an error came as content, under a stream that ends as if all were well.
        self.error_type: str | None = None
        # Its full name, where the call ended by an exception.
        self.exception_type: str | None = None
        self.attempts: list[Attempt] = []
        self.attempt_count = 0
        self.finish_reasons: dict[int, str] = {}
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.usage: Usage | None = None
        self.cost_usd: float | None = None
        self.cache_hit = False
        # Further attributes of the answer, by their names: what only the library's patch knows.
        self.attributes: dict[str, Any] = {}
        # Completes the call once it has ended, and before it is recorded.
        self.at_end: Callable[[ModelCall], object] | None = None
        # The patch's own state of the call; whatever it is must not hold the caller's stream.
        self.library: Any = None
        # Watches over the caller's stream; None before there is one and after the end.
        self.drop: StreamWatch | None = None
        # The remaining steps of the end.
        self._ending: Iterator[Callable[[], object]] | None = None
        # When the caller was given its stream; 0 before that, and where there is none.
        self.opened = 0
        self.ended = 0
        self.started, self.anchor = start or Start.now()
        # When the read that is pending now began, in ns of perf_counter_ns; 0 while no read is pending.
        self.read_started = self.started
        in_flight.add(self)

    def chunk(
        self,
        read_started: int,
        arrived: int,
        kind: str,
        chars: int,
        field: str | None,
        text: str | None,
        tool: ToolCall | None = None,
    ) -> None:
        """Take one chunk; a further row of it, for another field or tool call, has ``read_started`` 0."""
        block = self._block
        if self._run:
            self.fold_run(keep=0)
        if self._milestones_left or field is not None:
            self._milestones(read_started, arrived, kind, field)
        row = (read_started, arrived, kind, chars, field, text, tool)
        block.append(row)
        if read_started and len(block) >= _BLOCK:
            self._fold()
        if self._live is not None:
            self._live(self, row)

    def text(self, read_started: int, arrived: int, text: str) -> None:
        """Take one chunk of visible text and find the fields it belongs to."""
        if self.parser is None:
            self.chunk(read_started, arrived, TEXT, len(text), None, text if self._keep_text else None)
            return
        try:
            pieces = self.parser.feed(text)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("finding fields", problem)
            self.parser = None
            ModelCall.text(self, read_started, arrived, text)
            return
        if not pieces:  # markup, or text that is not decided yet
            self.chunk(read_started, arrived, TEXT, 0, self._field, None)
        for name, piece in pieces:
            self._field = name
            self.chunk(read_started, arrived, TEXT, len(piece), name, piece if self._keep_text else None)
            read_started = 0

    def plain_run(self) -> list[int] | None:
        """Return where (wait, arrived, characters) of each chunk of text may go from now on.

        That is the shortest way there is, and ``None`` where this call needs more of a chunk. Whoever
        fills it calls ``fold_run`` once it holds ``RUN`` numbers.
        """
        if self.parser is not None or self._keep_text or self._live is not None or self._milestones_left:
            return None
        return self._run

    def generated(self, read_started: int, arrived: int, kind: str, text: str, choice: int = 0) -> None:
        """Take one chunk of other content: reasoning, a refusal, text of a further choice."""
        # Of several choices, whose texts come by turns, events have the first one's.
        self.chunk(read_started, arrived, kind, len(text), None, text if self._keep_text and not choice else None)

    def tool_calls(
        self, read_started: int, arrived: int, pieces: Sequence[ToolCallPiece], choice: int = 0
    ) -> list[int]:
        """Take one chunk of tool calls, of which several may be under way; return the number of each piece's call."""
        calls = self._find_calls(pieces, choice)
        rows: list[tuple[ToolCall, str]] = []
        for call, (*_, arguments) in zip(calls, pieces, strict=True):
            if rows and rows[-1][0] is call:
                rows[-1] = (call, rows[-1][1] + arguments)
            else:
                rows.append((call, arguments))
        for call, arguments in rows:
            kept = arguments if self._keep_text and not choice else None
            self.chunk(read_started, arrived, TOOL_CALL, len(arguments), None, kept, call)
            read_started = 0
        return [call.number for call in calls]

    def tool_call_announced(self, read_started: int, arrived: int, piece: ToolCallPiece) -> int:
        """Take the name of a tool call before anything of it was generated: no token where it is the first of all."""
        if self.first_token is not None:
            return self.tool_calls(read_started, arrived, [piece])[0]
        self.chunk(read_started, arrived, EMPTY, 0, None, None)
        return self._find_calls([piece])[0].number

    def _find_calls(self, pieces: Sequence[ToolCallPiece], choice: int = 0) -> list[ToolCall]:
        if self._tool_calls is None:
            self._tool_calls = ToolCalls()
        return self._tool_calls.find(pieces, choice)

    def block(
        self, read_started: int, arrived: int, kind: str, content: object, text: str = "", at: int = -1, choice: int = 0
    ) -> None:
        """Take one chunk of content that is no text: media, a tool's result; ``text`` is what is written in it."""
        self.chunk(read_started, arrived, kind, len(text), None, text if self._keep_text and not choice else None)
        self.keep(content, at, choice)

    def keep(self, content: object, at: int = -1, choice: int = 0) -> None:
        """Keep content that is no text, of a chunk that was taken; it replaces what was kept ``at`` the same place."""

    def answered(self, message: object, choice: int = 0) -> None:
        """Take an answer that came as a whole, as the library has it: a message, or a list of items."""

    def attempted(self, attempt: Attempt) -> None:
        """Count a request that was made for this call; of very many the first ones and the last are kept."""
        self.attempt_count += 1
        del self.attempts[ATTEMPTS_KEPT - 1 :]
        self.attempts.append(attempt)

    def answered_by(self, provider: str, address: str | None, port: int | None) -> None:
        """Note who answered, where that is known only after the call was made."""
        request = self.request
        if (request.provider, request.server_address, request.server_port) != (provider, address, port):
            self.request = replace(request, provider=provider, server_address=address, server_port=port)
            self.attributes.update(self.request.destination())

    def blocked(self, read_started: int, returned: int, *, finished: bool) -> None:
        """Note the last read, which brought no chunk.

        What comes after the finish reason is the library's finishing work, not the model's:
        it is part of the total but neither a longest wait nor a stall.
        """
        self.last_read = (read_started, returned, not (finished and self._all_finished()))

    def end(self, outcome: str, error: BaseException | None = None, at: int = 0) -> None:
        """End the call once; ``at`` is when it ended, if that was not now."""
        at = at or now()
        try:
            if not in_flight.is_open(self) or attempt(in_flight.postponed, self, outcome, error, at):
                return
            if in_flight.remove(self):
                self._finish(outcome, error, at)
        except BaseException:  # a signal handler's
            in_flight.put_back(self, outcome, error, at)
            raise

    def _finish(self, outcome: str, error: BaseException | None, at: int) -> None:
        """Do what is to be done at the end; called once more, go on where it was interrupted."""
        if self._ending is None:
            self.ended = at
            self.read_started = 0
            self._ending = iter((lambda: self._set_outcome(outcome, error), self._complete, self._close_timeline))
        # A step that fails must not keep the next one from ending the span.
        for step in self._ending:
            attempt(step)
        # A span processor makes another context current while it exports: one that is interrupted would leave it so.
        copy_context().run(attempt, self.recorder.finish, self)
        if self.drop is not None:
            self.drop.cancel()
            self.drop = None
        # A caller may read on after an error: what comes then goes nowhere.
        self._block, self._live, self._milestones_left, self.parser = _NOWHERE, None, False, None

    def failed_by(self, error: BaseException) -> None:
        """Note the exception that ended the call, by its class alone: its text may be content."""
        raised = type(error)
        self.error_type = raised.__qualname__
        self.exception_type = f"{raised.__module__}.{raised.__qualname__}"

    def _set_outcome(self, outcome: str, error: BaseException | None) -> None:
        self.outcome = outcome
        self.outcome = self._true_outcome(outcome)
        if error is not None and self.outcome == FAILED:
            self.failed_by(error)

    def _complete(self) -> None:
        at_end, self.at_end = self.at_end, None  # contexts outlive a call, and what it knows may hold a connection open
        if at_end is not None:
            at_end(self)
        for name in ("response_id", "response_model"):  # some servers count where others name
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                setattr(self, name, str(value))

    def _true_outcome(self, outcome: str) -> str:
        """Tell a caller that left after the last content from one that left early."""
        if self.error_type is not None and outcome == COMPLETED:
            return FAILED
        if self.request.stream and outcome in (CANCELLED, CLOSED, ABANDONED) and self._all_finished():
            return COMPLETED
        return outcome

    @property
    def opening(self) -> int | None:
        """Time within the call, in ns, until the caller had its stream, or an error instead of it.

        None where chunks came by a way on which nobody saw the stream handed out.
        """
        if self.opened:
            return self.opened - self.started
        return None if self.timeline.chunks else self.ended - self.started

    def wall(self, at: int) -> int:
        """Return the wall clock in ns at a time of the call's own clock."""
        return self.anchor + at - self.started

    @property
    def choice_count(self) -> int:
        asked_for: int = self.request.parameters.get(signals.REQUEST_CHOICE_COUNT, 1)
        return asked_for

    def _all_finished(self) -> bool:
        """Return whether every choice that was asked for has its finish reason."""
        return len(self.finish_reasons) >= self.choice_count

    def _milestones(self, read_started: int, arrived: int, kind: str, field: str | None) -> None:
        if field is not None and field not in self.field_first and len(self.field_first) < FIELDS_KEPT:
            self.field_first[field] = arrived
        if self._milestones_left and kind is not EMPTY and (kind == TEXT or self.first_token is None):
            timeline, ahead = self.timeline, self._block
            if not read_started:  # a further row of the newest chunk
                ahead = ahead[: self._newest()]
            last = ahead[-1][1] if ahead else timeline.last_arrived
            index = timeline.chunks + sum(1 for row in ahead if row[0])
            at = (arrived, arrived - last if last else 0, index)
            if self.first_token is None:
                self.first_token = at
            if kind == TEXT:
                self.first_answer_token = at
                self._milestones_left = False

    def _fold(self) -> None:
        """Fold all rows but those of the newest chunk, which may turn out to be the last."""
        block, newest = self._block, self._newest()
        if newest > 0:
            rows = block[:newest]
            del block[:newest]
            self.timeline.extend(rows)

    def _newest(self) -> int:
        """Return where the rows of the newest chunk begin."""
        newest = len(self._block) - 1
        while newest > 0 and not self._block[newest][0]:
            newest -= 1
        return newest

    def fold_run(self, *, keep: int = 3) -> None:
        """Fold the run but for the numbers to keep: those of its newest chunk, which may turn out to be the last."""
        run, timeline = self._run, self.timeline
        if self._block is _NOWHERE:  # somebody reads on after the end
            run.clear()
            return
        if self._block:
            timeline.extend(self._block)
            self._block.clear()
        length = len(run) - keep
        if length > 0:
            timeline.extend_run(run[0:length:3], run[1:length:3], run[2:length:3])
            del run[:length]

    def _close_timeline(self) -> None:
        if self.parser is not None and self._block:
            arrived = self._block[-1][1]
            for name, piece in attempt(self.parser.finish) or ():
                self.chunk(0, arrived, TEXT, len(piece), name, piece if self._keep_text else None)
        if self._run:
            self.fold_run()
            wait, arrived, chars = self._run
            self._run.clear()
            self._block = [(arrived - wait, arrived, TEXT, chars, None, None, None)]
        self._fold()
        self.timeline.close(self._block)
        self._block = []
        if self.last_read is not None:
            read_started, returned, token_awaited = self.last_read
            self.timeline.blocked(read_started, returned, token_awaited=token_awaited)
