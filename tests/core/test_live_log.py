from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.generation import COMPLETED, FAILED, Request
from otel_tokenstream.core.redaction import Redactor
from otel_tokenstream.core.timeline import REASONING, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.testing import Capture

    Record = Callable[..., tuple[Telemetry, Capture]]

MS = 1_000_000
STREAM = Request("chat", "scripted", "test", stream=True)


def mask(text: str) -> str:
    return text.replace("secret", "[X]")


def test_the_stall_that_ends_a_stream_has_its_record(record: Record) -> None:
    """The read that stalled and then failed brought no chunk to tell it with."""
    telemetry, captured = record(events="log")
    call = telemetry.start(STREAM)
    assert call is not None
    call.chunk(call.started, call.started + MS, TEXT, 1, None, None)
    call.blocked(call.started + 2 * MS, call.started + 3_002 * MS, finished=False)
    call.end(FAILED, at=call.started + 3_002 * MS)

    (stall,) = (each.attributes for each in captured.logs if each.name == signals.STALL_EVENT)
    assert (stall[signals.AT_WAIT_US], stall[signals.AT_INDEX]) == (3_000_000, 1)


def test_milestones_that_one_chunk_brings_have_their_records(record: Record) -> None:
    """The first reasoning and the first visible text, which stands in the chunk's second row."""
    telemetry, captured = record(events="log")
    call = telemetry.start(STREAM)
    assert call is not None
    call.chunk(call.started, call.started + MS, REASONING, 1, None, None)
    call.chunk(0, call.started + MS, TEXT, 1, None, None)
    call.chunk(call.started + MS, call.started + 2 * MS, TEXT, 1, None, None)
    call.end(COMPLETED)

    told = [each.name for each in captured.logs if each.name != signals.TOKEN_EVENT]
    assert told == [signals.FIRST_TOKEN_EVENT, signals.FIRST_ANSWER_TOKEN_EVENT]


@pytest.mark.parametrize("hook", [mask, Redactor(mask, longest=6), None])
def test_kinds_that_come_by_turns_leave_the_runs_of_their_text_whole(record: Record, hook: object) -> None:
    """Records gather what is of one kind; a secret that goes on in the next interval is of one run all the same."""
    telemetry, captured = record(capture_content="EVENT_ONLY", events="log", redact=hook)
    call = telemetry.start(STREAM)
    assert call is not None
    for ms, kind, text in (
        (1, TEXT, "So "),
        (10, TEXT, "it "),
        (20, REASONING, "Hm."),
        (120, TEXT, "is sec"),
        (130, TEXT, "ret "),
        (400, TEXT, "now."),
    ):
        call.generated(call.started + ms * MS - 1, call.started + ms * MS, kind, text)
    call.end(COMPLETED, at=call.started + 500 * MS)

    said = [each.attributes for each in captured.logs if signals.AT_TEXT in each.attributes]
    by_kind = {
        kind: "".join(each[signals.AT_TEXT] for each in said if each.get(signals.AT_KIND, TEXT) == kind)
        for kind in (TEXT, REASONING)
    }
    assert by_kind == {TEXT: f"So it is {'secret' if hook is None else '[X]'} now.", REASONING: "Hm."}
    tokens = [each.attributes for each in captured.logs if each.name == signals.TOKEN_EVENT]
    assert sum(each.get(signals.AT_COUNT, 1) for each in tokens) == 6
    assert sum(each[signals.AT_CHARS] for each in tokens) == 23
