from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import REASONING, TEXT
from otel_tokenstream.core.call.model_call import COMPLETED, FAILED
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.call.stream_proxy import proxy
from otel_tokenstream.core.content.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.emit.telemetry import Telemetry
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
    assert told == [signals.START_EVENT, signals.FIRST_TOKEN_EVENT, signals.FIRST_ANSWER_TOKEN_EVENT]


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


# --- While a read is blocked -----------------------------------------------------------------


@contextmanager
def blocked_after(telemetry: Telemetry, letters: str) -> Iterator[None]:
    """Somebody reads a stream that gives these letters and then nothing until the block is left, and a last one."""
    call = telemetry.start(STREAM)
    assert call is not None
    call.read_started = 0
    go_on = threading.Event()

    def given() -> Iterator[str]:
        yield from letters
        assert go_on.wait(60)
        yield "."

    stream = proxy(given(), call, call.text)
    reader = threading.Thread(target=lambda: list(stream))
    reader.start()
    try:
        yield
    finally:
        go_on.set()
        reader.join()


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def told(captured: Capture, name: str, attribute: str) -> list[int]:
    return [each.attributes[attribute] for each in captured.logs if each.name == name and attribute in each.attributes]


def test_a_blocked_read_flushes_the_chunks_before_it(record: Record) -> None:
    """Chunks that share a record must not wait for the next chunk: it may never come."""
    telemetry, captured = record(events="log")
    with blocked_after(telemetry, "abcdef"):
        assert until(lambda: sum(told(captured, signals.TOKEN_EVENT, signals.AT_CHARS)) == 6)
    assert sum(told(captured, signals.TOKEN_EVENT, signals.AT_CHARS)) == 7


def test_a_stall_is_told_while_it_lasts_and_again_whole_when_it_is_over(record: Record) -> None:
    """The first record has a phase and the wait so far; the second has all of the wait, from the same moment on."""
    telemetry, captured = record(events="log", stall_threshold=0.3)
    with blocked_after(telemetry, "abc"):
        assert until(lambda: bool(told(captured, signals.STALL_EVENT, signals.AT_WAIT_US)))
        time.sleep(0.3)
    so_far, whole = (each.attributes for each in captured.logs if each.name == signals.STALL_EVENT)

    assert (so_far[signals.AT_PHASE], signals.AT_PHASE in whole) == ("tokens", False)
    assert whole[signals.AT_WAIT_US] >= so_far[signals.AT_WAIT_US] + 200_000
    began = [each[signals.AT_OFFSET_US] - each[signals.AT_WAIT_US] for each in (so_far, whole)]
    assert began[0] == pytest.approx(began[1], abs=2)
    assert so_far[signals.AT_INDEX] == whole[signals.AT_INDEX] == 3


def test_a_stream_is_told_of_before_its_first_chunk(record: Record) -> None:
    """Start, the moment the caller was given its stream, and the read that has been blocked since."""
    telemetry, captured = record(events="log")
    with blocked_after(telemetry, ""):
        assert until(lambda: bool(told(captured, signals.FIRST_READ_EVENT, signals.AT_OFFSET_US)))
        offsets = {each.name: each.attributes[signals.AT_OFFSET_US] for each in captured.logs}
    assert list(offsets) == [signals.START_EVENT, signals.OPENED_EVENT, signals.FIRST_READ_EVENT]
    assert list(offsets.values()) == sorted(offsets.values())
