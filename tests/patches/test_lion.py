"""lionpride and lionagi: their calls over HTTP, and the errors that they store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import correlate, signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.script import tool_call
from tests.entries.lion_entries import lionagi_model

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}]}
PIECES = ["a", "b", "c"]


def pride(provider: ScriptedProvider) -> Any:
    oai_chat = pytest.importorskip("lionpride.services.providers.oai_chat")  # asks for Python 3.11
    return oai_chat.OAIChatEndpoint(config=oai_chat.create_oai_chat(base_url=provider.base_url, api_key="none"))


async def test_a_stream_of_lionpride_is_its_lines(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, gap=0.001)

    lines = [line async for line in pride(provider).stream({"model": "test", **ASKED})]

    (generation,) = tokenstream.generations
    assert all(isinstance(line, str) for line in lines)
    assert generation.attributes[signals.CHUNKS] == len(lines)
    assert generation.attributes[signals.PROVIDER_NAME] == "openai"
    assert generation.attributes[signals.FINISH_REASONS] == ("stop",)


async def test_an_error_that_lionagi_stores_is_a_failure(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, ending="http_error", status=500)
    model = lionagi_model(provider)
    event = await model.create_event(**ASKED, stream=True)

    assert [chunk async for chunk in event.stream()] == []  # it stores the error and ends

    (generation,) = tokenstream.generations
    assert str(event.status).endswith("FAILED")
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == type(event.execution.error).__name__


async def test_a_failure_inside_a_stream_of_lionagi_is_told(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, ending="error_frame")

    with pytest.raises(ValueError, match="Failed to stream"):
        _ = [chunk async for chunk in lionagi_model(provider).stream(**ASKED)]

    (generation,) = tokenstream.generations
    assert generation.outcome == "failed"
    assert generation.attributes[signals.CHUNKS] >= len(PIECES)


async def test_a_failed_invoke_of_lionagi_is_a_failure(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(ending="http_error", status=400)

    event = await lionagi_model(provider).invoke(**ASKED)

    (generation,) = tokenstream.generations
    assert str(event.status).endswith("FAILED")
    assert generation.outcome == "failed"


async def test_tools_and_correlation_of_lionagi(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(
        pieces=[tool_call('{"city":', name="weather", call_id="call_1"), tool_call('"Bonn"}')]
    )

    with correlate(conversation_id="c-1"):
        _ = [chunk async for chunk in lionagi_model(provider).stream(**ASKED)]

    (generation,) = tokenstream.generations
    assert generation.attributes[signals.CONVERSATION_ID] == "c-1"
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)
    assert {
        event.attributes[signals.AT_KIND] for event in generation.tokens if signals.AT_KIND in event.attributes
    } == {
        "tool_call",
        "empty",
    }


async def test_a_branch_of_lionagi_asks_one_model(provider: ScriptedProvider, tokenstream: Capture) -> None:
    import lionagi

    provider.scripts["test"] = Script(pieces=PIECES, gap=0.001)
    silent = lionagi.protocols.types.DataLoggerConfig(auto_save_on_exit=False)
    branch = lionagi.Branch(chat_model=lionagi_model(provider), log_config=silent)

    assert await branch.communicate("Why?") == "abc"

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)
