"""The state of one model call: what was asked, what came, how it ended. Knows no OpenTelemetry."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from otel_tokenstream import signals
from otel_tokenstream.core import open_calls
from otel_tokenstream.core.guard import fault, guarded
from otel_tokenstream.core.text import repaired
from otel_tokenstream.core.timeline import EMPTY, TEXT, TOOL_CALL, Row, Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableSequence, Sequence

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

# A piece of a tool call: its position among the calls, id, name, and this part of its arguments.
ToolCallPiece = tuple[int, "str | None", "str | None", str]

now = time.perf_counter_ns
_NOWHERE: deque[Row] = deque(maxlen=0)


@dataclass(frozen=True)
class Request:
    """What is known when the call is made. ``parameters`` are span attributes by name."""

    operation: str
    provider: str
    model: str
    stream: bool
    server_address: str | None = None
    server_port: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: object = None
    system: object = None
    tools: object = None

    def __post_init__(self) -> None:
        # They are in the span's name, which costs the whole batch if it cannot be encoded, and in every signal.
        for name in ("operation", "provider", "model", "server_address"):
            value = getattr(self, name)
            if value is not None and not value.isascii():
                object.__setattr__(self, name, repaired(value))


@dataclass(frozen=True)
class Usage:
    """Token counts as reported; ``None`` is a count that was not reported."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    estimated: bool = False


@dataclass
class Attempt:
    """One request among those it took to answer a call; times as the generation's, ``ended`` 0 while it runs."""

    model: str
    provider: str
    started: int
    ended: int = 0
    error_type: str | None = None
    invented: bool = False
    """The library made the answer up, nobody was asked."""


class Live(Protocol):
    """Takes each row as it comes, with its ``text`` if it wants that, and is told of reads that are blocked right now.

    ``close`` comes once, when the call has ended.
    """

    text: bool

    def __call__(self, generation: Generation, row: Row, /) -> None: ...

    def stalled(self, generation: Generation, since: int, at: int, phase: str, /) -> None: ...

    def close(self, generation: Generation, /) -> None: ...


class Recorder(Protocol):
    """Turns a generation into signals.

    ``observed`` says whether anybody wants to know; ``live`` is there if anybody wants it
    while the stream runs, and ``instruments`` if anybody measures it.
    """

    observed: bool

    @property
    def instruments(self) -> object: ...

    @property
    def live(self) -> Live | None: ...

    def finish(self, generation: Generation) -> None: ...


class Parser(Protocol):
    """Attributes text to output fields, for any split into chunks."""

    def feed(self, text: str) -> list[tuple[str, str]]: ...

    def finish(self) -> list[tuple[str, str]]: ...


def _nothing() -> None:
    pass


class Generation:
    """One call. ``chunk`` many times, ``end`` once; later calls of either change nothing.

    Times are ns of ``perf_counter_ns``; ``anchor`` is the wall clock in ns at ``started``.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_field",
        "_keep_text",
        "_live",
        "_milestones_left",
        "_run",
        "_tool_call",
        "anchor",
        "asked",
        "attempt_count",
        "attempts",
        "cache_hit",
        "closing",
        "context",
        "cost_usd",
        "ended",
        "error_type",
        "field_first",
        "finish_reason_synthetic",
        "finish_reasons",
        "first_answer_token",
        "first_token",
        "last_read",
        "observed",
        "outcome",
        "parser",
        "price",
        "recorder",
        "request",
        "rerouted",
        "response_id",
        "response_model",
        "source",
        "started",
        "timeline",
        "usage",
    )

    def __init__(self, request: Request, recorder: Recorder, timeline: Timeline, context: Any = None) -> None:
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
        # The field that text belonged to last.
        self._field: str | None = None
        self._tool_call = 0
        self.parser: Parser | None = None
        # (arrived, gap, index) of the chunk that brought the first content of its kind
        self.first_token: tuple[int, int, int] | None = None
        self.first_answer_token: tuple[int, int, int] | None = None
        self.field_first: dict[str, int] = {}
        # (asked, returned, whether a token was waited for) of the read that brought no chunk
        self.last_read: tuple[int, int, bool] | None = None
        self.outcome = ""
        # How the call will have ended, once the caller has begun to close it.
        self.closing = ""
        # Set by a reader when an error came as content, under a stream that ends as if all were well.
        self.error_type: str | None = None
        self.attempts: list[Attempt] = []
        self.attempt_count = 0
        self.finish_reasons: dict[int, str] = {}
        self.finish_reason_synthetic = False
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.usage: Usage | None = None
        self.cost_usd: float | None = None
        # Computes it once the call has ended.
        self.price: Callable[[Generation], float | None] | None = None
        self.cache_hit = False
        self.rerouted = False
        # Leads to who holds the library's own stream, where the caller holds another one around it.
        self.source: Callable[[], Any] = _nothing
        self.ended = 0
        self.anchor = time.time_ns()
        # When the read that is pending now was asked for; 0 while the caller has the turn.
        self.started = self.asked = now()
        open_calls.add(self)

    def chunk(self, asked: int, arrived: int, kind: str, chars: int, field: str | None, text: str | None) -> None:
        """Take one chunk; a further row of the same chunk, for another field of it, has ``asked`` 0."""
        block = self._block
        if self._run:
            self.fold_run(keep=0)
        if self._milestones_left or field is not None:
            self._milestones(asked, arrived, kind, field)
        row = (asked, arrived, kind, chars, field, text)
        block.append(row)
        if asked and len(block) >= _BLOCK:
            self._fold()
        if self._live is not None:
            self._live(self, row)

    def text(self, asked: int, arrived: int, text: str) -> None:
        """Take one chunk of visible text and find the fields it belongs to."""
        if self.parser is None:
            self.chunk(asked, arrived, TEXT, len(text), None, text if self._keep_text else None)
            return
        try:
            pieces = self.parser.feed(text)
        except Exception as problem:  # noqa: BLE001  # ours, not the user's
            fault("finding fields", problem)
            self.parser = None
            Generation.text(self, asked, arrived, text)
            return
        if not pieces:  # markup, or text that is not decided yet
            self.chunk(asked, arrived, TEXT, 0, self._field, None)
        for name, piece in pieces:
            self._field = name
            self.chunk(asked, arrived, TEXT, len(piece), name, piece if self._keep_text else None)
            asked = 0

    def plain_run(self) -> list[int] | None:
        """Return where (wait, arrived, characters) of each chunk of text may go from now on.

        That is the shortest way there is, and ``None`` where this call needs more of a chunk. Whoever
        fills it calls ``fold_run`` once it holds ``RUN`` numbers.
        """
        if self.parser is not None or self._keep_text or self._live is not None or self._milestones_left:
            return None
        return self._run

    def generated(self, asked: int, arrived: int, kind: str, text: str, choice: int = 0) -> None:
        """Take one chunk of other content: reasoning, a refusal, text of a further choice."""
        # Of several choices, whose texts come by turns, events have the first one's.
        self.chunk(asked, arrived, kind, len(text), None, text if self._keep_text and not choice else None)

    def tool_calls(self, asked: int, arrived: int, pieces: Sequence[ToolCallPiece], choice: int = 0) -> None:
        """Take one chunk of tool calls, of which several may be under way."""
        arguments = "".join(piece[3] for piece in pieces)
        # Text of calls that come by turns would be mixed up: events have the newest call's.
        newest = all(piece[0] >= self._tool_call for piece in pieces)
        self._tool_call = max((self._tool_call, *(piece[0] for piece in pieces)))
        kept = arguments if self._keep_text and newest and not choice else None
        if not newest:  # what is left out may be half of what a redaction hook looks for
            self.timeline.text_torn[TOOL_CALL, None] = None
        self.chunk(asked, arrived, TOOL_CALL, len(arguments), None, kept)

    def answered(self, message: object, choice: int = 0) -> None:
        """Take an answer that came as a whole, as the library has it: a message, or a list of items."""

    def attempted(self, attempt: Attempt) -> None:
        """Count a request that was made for this call; of very many the first ones and the last are kept."""
        self.attempt_count += 1
        del self.attempts[ATTEMPTS_KEPT - 1 :]
        self.attempts.append(attempt)

    def answered_by(self, provider: str, address: str | None, port: int | None) -> None:
        """Note who answered, where that is known only after the call was made."""
        asked = self.request
        if (asked.provider, asked.server_address, asked.server_port) != (provider, address, port):
            self.request = replace(asked, provider=provider, server_address=address, server_port=port)
            self.rerouted = True

    def blocked(self, asked: int, returned: int, *, finished: bool) -> None:
        """Note the last read, which brought no chunk.

        What comes after the finish reason is the library's finishing work, not the model's:
        it is part of the total but neither a longest wait nor a stall.
        """
        self.last_read = (asked, returned, not (finished and self._all_said()))

    def end(self, outcome: str, error: BaseException | None = None, at: int = 0) -> None:
        """End the call once; ``at`` is when it ended, if that was not now."""
        at = at or now()
        if self.ended or guarded(open_calls.postponed)(self, outcome, error, at) or not open_calls.remove(self):
            return
        self.ended = at
        self.asked = 0
        self.outcome = guarded(self._truly)(outcome) or outcome
        if error is not None and self.outcome == FAILED:
            self.error_type = type(error).__qualname__
        # What one step cannot do must not keep the next one from ending the span.
        if self.price is not None and self.cost_usd is None:
            self.cost_usd = guarded(self.price)(self)
        self.price = None  # contexts outlive a call, and what it knows may hold a connection open
        guarded(self._close_timeline)()
        guarded(self.recorder.finish)(self)
        # A caller may read on after an error: what comes then goes nowhere.
        self._block, self._live, self._milestones_left, self.parser = _NOWHERE, None, False, None

    def _truly(self, outcome: str) -> str:
        """Tell a caller that left after the last content from one that left early."""
        if self.error_type is not None and outcome == COMPLETED:
            return FAILED
        if self.request.stream and outcome in (CANCELLED, CLOSED, ABANDONED) and self._all_said():
            return COMPLETED
        return outcome

    def _all_said(self) -> bool:
        """Whether every choice that was asked for has its finish reason."""
        asked_for: int = self.request.parameters.get(signals.REQUEST_CHOICE_COUNT, 1)
        return len(self.finish_reasons) >= asked_for

    def _milestones(self, asked: int, arrived: int, kind: str, field: str | None) -> None:
        if field is not None and field not in self.field_first and len(self.field_first) < FIELDS_KEPT:
            self.field_first[field] = arrived
        if self._milestones_left and kind is not EMPTY and (kind == TEXT or self.first_token is None):
            timeline, ahead = self.timeline, self._block
            if not asked:  # a further row of the newest chunk
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
            for name, piece in guarded(self.parser.finish)() or ():
                self.chunk(0, arrived, TEXT, len(piece), name, piece if self._keep_text else None)
        if self._run:
            self.fold_run()
            wait, arrived, chars = self._run
            self._run.clear()
            self._block = [(arrived - wait, arrived, TEXT, chars, None, None)]
        self._fold()
        self.timeline.close(self._block)
        self._block = []
        if self.last_read is not None:
            asked, returned, token_awaited = self.last_read
            self.timeline.blocked(asked, returned, token_awaited=token_awaited)
