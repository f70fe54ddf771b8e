from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight, nesting, stream_proxy
from otel_tokenstream.core.call.model_call import ModelCall
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.call.timeline import Timeline
from otel_tokenstream.core.emit import span_data, telemetry
from otel_tokenstream.core.emit.log_events import LiveLog
from otel_tokenstream.core.emit.recorder import Recorder
from otel_tokenstream.core.runtime.guard import fault, faults, guarded
from tests.core.calls import letters

if TYPE_CHECKING:
    from collections.abc import Callable


class Ours(Exception):  # noqa: N818  # a name that no other test counts
    pass


def fail(*_: Any, **__: Any) -> None:
    raise Ours


def test_a_guarded_function_returns_nothing_instead_of_raising(caplog: Any) -> None:
    """The fault is counted each time, and logged once with where it was."""
    before = faults["Ours"]

    broken = guarded(fail)
    assert [broken() for _ in range(5)] == [None] * 5

    assert faults["Ours"] - before == 5
    assert len([record for record in caplog.records if "fail" in record.getMessage()]) == 1


def test_a_fault_is_logged_once_for_its_place_and_class(caplog: Any) -> None:
    """Another place or another class is another message: a warning with the class and where in our code."""
    try:
        fail()
    except Ours as problem:
        for where in ("the first place", "the first place", "the second place"):
            fault(where, problem)

    messages = [record.getMessage() for record in caplog.records]
    assert [("first" in message, "second" in message) for message in messages] == [(True, False), (False, True)]
    assert all("Ours" in message and "raise Ours" in message for message in messages)
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_text_of_a_fault_is_not_logged(caplog: Any) -> None:
    """An exception's message may quote what the model said, and logs leave the process too."""
    try:
        {}["the canary"]
    except KeyError as problem:
        fault("a place with content", problem)

    assert "a place with content" in caplog.text
    assert "the canary" not in caplog.text.replace('{}["the canary"]', "")


def test_an_exception_that_ends_the_program_is_no_fault() -> None:
    """KeyboardInterrupt and SystemExit pass through the guard."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        guarded(interrupt)()


# Each hook of the core that runs inside the user's call, read or close, or at a stream's end.
HOOKS: dict[str, tuple[object, str]] = {
    "taking a chunk": (ModelCall, "text"),
    "folding": (Timeline, "extend"),
    "folding the last chunk": (Timeline, "close"),
    "the last read": (ModelCall, "blocked"),
    "arming for the exit": (in_flight, "arm"),
    "marking the context": (nesting, "mark"),
    "the context of the reads": (nesting, "reading"),
    "whether the end is postponed": (in_flight, "postponed"),
    "how it really ended": (ModelCall, "_true_outcome"),
    "the milestones": (ModelCall, "_milestones"),
    "the attributes": (span_data, "response_attributes"),
    "the events": (span_data, "fit_events"),
    "writing the span": (Recorder, "_write_span"),
    "the metrics": (Recorder, "_record_metrics"),
    "live records": (LiveLog, "__call__"),
    "the last live records": (LiveLog, "close"),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_fault_in_a_hook_is_counted_and_costs_no_span(
    hook: str, record: Callable[..., Any], monkeypatch: Any, caplog: Any
) -> None:
    """The program reads its stream, the span ends with its outcome, and tokenstream.faults says what happened."""
    recording, captured = record(events="both")
    before = faults["Ours"]
    monkeypatch.setattr(*HOOKS[hook], fail)
    call = recording.start(Request("chat", "scripted", "test", stream=True))
    call.read_started = 0
    text = "a" * 50

    assert "".join(stream_proxy.proxy(letters(text), call, call.text)) == text

    (generation,) = captured.generations
    assert generation.outcome == "completed"
    assert faults["Ours"] > before
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(set(messages))
    (counted,) = [point for point in captured.metrics[signals.FAULTS] if point.attributes[signals.ERROR_TYPE] == "Ours"]
    assert counted.value == faults["Ours"]


def test_a_fault_while_folding_keeps_nothing_back(record: Callable[..., Any], monkeypatch: Any) -> None:
    """Rows that cannot be folded are not collected for ever."""
    recording, _ = record()
    monkeypatch.setattr(Timeline, "extend", fail)
    call = recording.start(Request("chat", "scripted", "test", stream=True))
    for _ in stream_proxy.proxy(letters("a" * 500), call, call.text):
        assert len(call._block) < 32


@pytest.mark.parametrize("part", ["Timeline", "ModelCall"])
def test_a_call_that_cannot_be_recorded_leaves_no_span_open(
    part: str, record: Callable[..., Any], monkeypatch: Any
) -> None:
    """The program's call goes on without us, and what was begun of its span is ended."""
    recording, captured = record()
    monkeypatch.setattr(telemetry, part, fail)

    assert recording.start(Request("chat", "scripted", "test", stream=True)) is None

    (span,) = captured.spans
    assert span.end_time is not None
