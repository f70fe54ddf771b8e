"""The program's own functions that we call: what they call is neither measured nor told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.context import get_current

from otel_tokenstream import TokenCollector, subscribe
from otel_tokenstream.core.call import user_code
from otel_tokenstream.core.call.nesting import CallScope, current_call
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.content import redaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.testing import Capture

    Record = Callable[..., tuple[Telemetry, Capture]]

ASKED = Request("chat", "scripted", "test", stream=True, messages=[{"role": "user", "content": "secret"}])


def test_a_hook_that_asks_a_model_is_not_called_for_its_own_question(record: Record) -> None:
    """One call, one span, however the hook finds out what is to be hidden."""
    asked: list[Any] = []

    def hook(text: str) -> str:
        asked.append(telemetry.start(ASKED))
        return text

    telemetry, captured = record(redact=hook, capture_content="SPAN_ONLY")
    with TokenCollector() as collected:
        call = telemetry.start(ASKED)
        assert call is not None
        call.text(call.started, call.started + 1, "secret")
        call.end("completed")

    assert asked
    assert set(asked) == {None}
    assert len(captured.generations) == 1
    assert len({event.stream_id for event in collected.events}) == 1


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, asyncio.CancelledError, BaseException])
def test_a_hook_that_raises_costs_the_text(error: type[BaseException]) -> None:
    """Whatever it raises, the program goes on, and the text does not leave."""

    def hook(_: str) -> str:
        raise error

    assert redaction.redacted(hook, "secret") == redaction.FAILED


def test_ctrl_c_passes_a_hook() -> None:
    """It is the user's, who wants the program to end."""

    def hook(_: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        redaction.redacted(hook, "secret")


def test_within_a_call_they_belong_to_nobody(record: Record) -> None:
    """What a hook asks is no attempt of the call that is being made; afterwards all is as it was."""
    telemetry, _ = record()
    call = telemetry.start(ASKED)
    assert call is not None
    with CallScope(call):
        before = get_current()
        assert user_code.call(current_call) is None
        assert (current_call(), get_current()) == (call, before)
    call.end("completed")


async def test_subscribers_are_neither_measured_nor_told(record: Record) -> None:
    """A callback that asks a model about what it was told would be told of that, too."""
    telemetry, captured = record()
    asked: list[Any] = []

    def callback(_: object) -> None:
        asked.append(telemetry.start(ASKED))

    async def acallback(_: object) -> None:
        asked.append(telemetry.start(ASKED))

    with subscribe(callback):
        async with subscribe(acallback):
            call = telemetry.start(ASKED)
            assert call is not None
            call.end("completed")

    assert len(asked) == 4
    assert set(asked) == {None}
    assert len(captured.generations) == 1
