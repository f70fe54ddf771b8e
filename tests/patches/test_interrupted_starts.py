"""Calls that are interrupted in code of ours: none stays open, whatever line of it was interrupted."""

from __future__ import annotations

import gc
import linecache
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm

import otel_tokenstream
from otel_tokenstream import signals
from otel_tokenstream.core.call import in_flight

if TYPE_CHECKING:
    from types import FrameType

    import pytest

    from otel_tokenstream.testing import Capture

OURS = str(Path(otel_tokenstream.__file__).parent)
STEP = 7


def start() -> Any:
    return litellm.completion(
        model="openai/gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True, mock_response="Hello."
    )


def active(tokenstream: Capture) -> set[int]:
    return {point.value for point in tokenstream.metrics[signals.STREAM_ACTIVE]}


def _is_with(frame: FrameType) -> bool:
    """Such a line comes again before the exit of its block, where no signal interrupts and a lock would stay locked."""
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith(("with ", "async with "))


def interrupt(at: int) -> bool:
    """Raise KeyboardInterrupt at a line of ours, counted from the start of a call; whether there are as many lines."""
    lines, raised = 0, False

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal lines, raised
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        lines += event == "line"
        if lines >= at and not raised and not _is_with(frame):
            raised = True
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        start()
        for _ in range(10):  # what is raised after a finalizer comes with the next steps of the program
            pass
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return lines >= at


def test_interrupted_starts_leave_no_call_open(tokenstream: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its first line and the stream that the caller gets."""
    monkeypatch.setattr(litellm, "disable_streaming_logging", True)
    stream = start()
    assert active(tokenstream) == {1}
    del stream
    interrupted = 0
    while interrupt(1 + interrupted * STEP):
        interrupted += 1

    gc.collect()
    assert interrupted > 50
    in_flight.finish_dropped()
    assert in_flight.snapshot() == []
    assert active(tokenstream) == {0}
