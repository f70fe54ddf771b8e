"""The page about adding a library shows code that works."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.core.call.nesting import current_call
from otel_tokenstream.core.emit.telemetry import telemetry_for
from otel_tokenstream.core.runtime.guard import faults
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-library.md"


@dataclass
class Counts:
    prompt_tokens: int
    completion_tokens: int


@dataclass
class Chunk:
    model: str = "model-2026"
    text: str = ""
    thinking: str = ""
    finish_reason: str | None = None
    usage: Counts | None = None
    id: str = "answer-1"


class Client:
    """A library's client as small as the page's example needs it."""

    model = "model"
    inside: Any = None

    def generate(self, prompt: str, *, stream: bool = False) -> Any:
        type(self).inside = current_call()
        if prompt == "refused":
            raise ConnectionError(prompt)
        if not stream:
            return Chunk(text="yes", finish_reason="stop", usage=Counts(3, 1))
        return self._chunks(prompt)

    def _chunks(self, prompt: str) -> Iterator[Chunk]:
        yield Chunk(thinking="hm")
        yield Chunk(text="y")
        if prompt == "broken":
            raise ConnectionError(prompt)
        yield Chunk(text="es")
        yield Chunk(finish_reason="stop", usage=Counts(3, 2))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    package, module = ModuleType("somelib"), ModuleType("somelib.client")
    package.__path__ = []
    patched = type("Client", (Client,), {"generate": Client.generate})
    module.Client = patched
    for each in (package, module):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    page: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), page)
    with capture() as captured:
        table = page["table"](telemetry_for(Settings(), captured.tracer_provider, captured.meter_provider))
        table.apply()
        before = faults.total()
        yield patched(), captured
        assert faults.total() == before
        table.remove()


def test_an_answer_is_read_and_its_call_ended(client: Any) -> None:
    """The span has the request and what the answer says of itself; calls made inside belong to it."""
    made, captured = client
    answer = made.generate("hello")

    (call,) = captured.generations
    assert answer.text == "yes"
    assert (call.name, call.outcome) == ("chat model", "completed")
    assert call.attributes[signals.RESPONSE_MODEL] == "model-2026"
    assert call.attributes[signals.USAGE_OUTPUT_TOKENS] == 1
    assert type(made).inside is not None
    assert current_call() is None


def test_every_chunk_of_a_stream_is_counted(client: Any) -> None:
    """Chunks pass unchanged, those without content are counted too."""
    made, captured = client
    chunks = list(made.generate("hello", stream=True))

    (call,) = captured.generations
    assert [chunk.text for chunk in chunks] == ["", "y", "es", ""]
    assert (call.outcome, call.attributes[signals.CHUNKS]) == ("completed", 4)
    assert [event.attributes.get(signals.AT_KIND) for event in call.tokens] == ["reasoning", None, None, "empty"]
    assert call.attributes[signals.USAGE_OUTPUT_TOKENS] == 2


@pytest.mark.parametrize(("prompt", "stream"), [("refused", False), ("refused", True), ("broken", True)])
def test_an_error_reaches_the_program_and_fails_the_call(client: Any, prompt: str, stream: bool) -> None:
    """Whether the function raised or its stream."""
    made, captured = client
    with pytest.raises(ConnectionError, match=prompt):
        list(made.generate(prompt, stream=stream))

    (call,) = captured.generations
    assert (call.outcome, call.attributes[signals.ERROR_TYPE]) == ("failed", "ConnectionError")


def test_a_stream_that_is_dropped_is_abandoned(client: Any) -> None:
    """Dropping the program's stream ends the call."""
    made, captured = client
    stream = made.generate("hello", stream=True)
    next(stream)
    del stream

    (call,) = captured.generations
    assert call.outcome == "abandoned"


def test_a_request_that_cannot_be_read_leaves_the_program_its_call() -> None:
    """What ``request`` raises is logged and counted; the block runs unseen."""
    from otel_tokenstream.patches.lifecycle import begin

    def broken() -> Any:
        raise LookupError

    with capture() as captured:
        before = faults["LookupError"]
        telemetry = telemetry_for(Settings(), captured.tracer_provider, captured.meter_provider)
        with begin(telemetry, broken) as call:
            assert call is None
        assert faults["LookupError"] == before + 1
        assert not captured.generations
