"""The SDKs of OpenAI and Anthropic: one generation for each way to ask, and none below another library's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tokenstream import OpenAIInstrumentor, signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.script import tool_call
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture, Generation

PIECES = ["a", "b", "c"]
ASKED: dict[str, Any] = {"model": "test", "messages": [{"role": "user", "content": "Why?"}]}
LIMITED: dict[str, Any] = {**ASKED, "max_tokens": 9}


@pytest.fixture
def answering(provider: ScriptedProvider) -> ScriptedProvider:
    provider.scripts["test"] = Script(pieces=PIECES, gap=0.001)
    return provider


def gpt(provider: ScriptedProvider, kind: str = "OpenAI") -> Any:
    return getattr(openai, kind)(base_url=provider.base_url, api_key="none", max_retries=0)


def claude(provider: ScriptedProvider, kind: str = "Anthropic", **more: Any) -> Any:
    return getattr(anthropic, kind)(base_url=provider.address, api_key="none", max_retries=0, **more)


# --- Plain answers and other ends -------------------------------------------------------------


def test_a_tool_call_has_one_finish_reason_by_every_way(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(pieces=[tool_call("{}", name="look", call_id="call_1")], gap=0.001)
    reached: dict[str, Any] = {"base_url": provider.base_url, "api_key": "none", "max_retries": 0}
    model = ChatOpenAI(model="test", use_responses_api=True, **reached)
    gpt(provider).responses.create(model="test", input="Why?")
    list(gpt(provider).responses.create(model="test", input="Why?", stream=True))
    model.invoke("Why?")
    list(model.stream("Why?"))
    ChatOpenAI(model="test", **reached).invoke("Why?")

    reasons = [generation.attributes[signals.FINISH_REASONS] for generation in tokenstream.generations]
    assert reasons == [("tool_calls",)] * 5


@pytest.mark.parametrize("kind", ["OpenAI", "AsyncOpenAI"])
async def test_an_answer_that_parse_refuses_has_its_usage(
    provider: ScriptedProvider, tokenstream: Capture, kind: str
) -> None:
    """The SDK raises where the answer was cut: it was made, and is paid for."""
    provider.scripts["test"] = Script(pieces=PIECES, gap=0.001, ending="length")

    async def ask() -> None:
        answer = gpt(provider, kind).chat.completions.parse(**ASKED)
        await answer

    with pytest.raises(openai.LengthFinishReasonError):
        await ask()

    (generation,) = tokenstream.generations
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == "LengthFinishReasonError"
    assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)


def test_plain_answers_have_no_fields_of_a_stream(answering: ScriptedProvider, tokenstream: Capture) -> None:
    gpt(answering).chat.completions.create(**ASKED, temperature=0.5)
    gpt(answering).responses.create(model="test", input="Why?")
    claude(answering).messages.create(**LIMITED)
    gpt(answering).chat.completions.with_raw_response.create(**ASKED)

    assert len(tokenstream.generations) == 4
    for generation in tokenstream.generations:
        assert generation.outcome == "completed"
        assert signals.CHUNKS not in generation.attributes
        assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)
        assert '"content":"abc"' in generation.attributes[signals.OUTPUT_MESSAGES]
    assert tokenstream.generations[0].attributes[signals.REQUEST_TEMPERATURE] == 0.5


def test_leaving_a_helpers_block_early_closes_the_stream(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, ending="hang")
    with gpt(provider).chat.completions.stream(**ASKED) as stream:
        next(iter(stream))
    with claude(provider).messages.stream(**LIMITED) as messages:
        next(messages)
    with gpt(provider).chat.completions.with_streaming_response.create(**ASKED, stream=True) as response:
        next(response.iter_lines())

    assert [each.outcome for each in tokenstream.generations] == ["closed"] * 3
    provider.log.settled(3, 5.0)  # and the provider saw the connections go


def attempts(generation: Generation) -> list[tuple[str, str | None]]:
    events = [event.attributes for event in generation.events if event.name == signals.ATTEMPT_EVENT]
    return [(told[signals.AT_MODEL], told.get(signals.ERROR_TYPE)) for told in events]


FAILS_TWICE = [Script(ending="http_error", status=503), Script(ending="http_error", status=429)]


def test_a_clients_own_retries_are_attempts_of_one_call(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = [*FAILS_TWICE, Script(pieces=PIECES)]
    client = openai.OpenAI(base_url=provider.base_url, api_key="none", max_retries=2)

    list(client.chat.completions.create(**ASKED, stream=True))

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.ATTEMPTS] == 3
    assert attempts(generation) == [("test", "InternalServerError"), ("test", "RateLimitError"), ("test", None)]


async def test_an_async_clients_retries_are_attempts_too(provider: ScriptedProvider, tokenstream: Capture) -> None:
    provider.scripts["test"] = [FAILS_TWICE[0], Script(ending="http_error", status=500)]
    client = anthropic.AsyncAnthropic(base_url=provider.address, api_key="none", max_retries=1)

    with pytest.raises(anthropic.InternalServerError):
        await client.messages.create(**LIMITED, stream=True)

    (generation,) = tokenstream.generations
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ERROR_TYPE] == "InternalServerError"
    assert [error for _, error in attempts(generation)] == ["ServiceUnavailableError", "InternalServerError"]


def test_azures_client_is_known(answering: ScriptedProvider, tokenstream: Capture) -> None:
    about = {"api_key": "none", "api_version": "2024-10-21", "max_retries": 0}
    client = openai.AzureOpenAI(azure_endpoint=answering.address, **about)

    client.chat.completions.create(**ASKED)

    assert tokenstream.generations[0].attributes[signals.PROVIDER_NAME] == "azure.ai.openai"


# --- Layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [ChatOpenAI, ChatAnthropic])
def test_below_langchain_the_sdks_have_no_generation_of_their_own(
    answering: ScriptedProvider, tokenstream: Capture, model: Any
) -> None:
    address = answering.base_url if model is ChatOpenAI else answering.address
    made = model(model="test", base_url=address, api_key="none", max_retries=0)

    list(made.stream("Why?"))
    made.invoke("Why?")
    asyncio.run(made.ainvoke("Why?"))

    assert len(tokenstream.generations) == 3


@pytest.mark.parametrize("model", [ChatOpenAI, ChatAnthropic])
def test_below_langchain_the_sdks_add_the_answers_id_and_their_retries(
    provider: ScriptedProvider, tokenstream: Capture, model: Any
) -> None:
    provider.scripts["test"] = [FAILS_TWICE[0], Script(pieces=PIECES)]
    address = provider.base_url if model is ChatOpenAI else provider.address

    list(model(model="test", base_url=address, api_key="none", max_retries=1).stream("Why?"))

    (generation,) = tokenstream.generations
    assert generation.attributes[signals.RESPONSE_ID].startswith(("chatcmpl-", "msg_"))
    assert generation.attributes[signals.ATTEMPTS] == 2
    assert [error for _, error in attempts(generation)][1:] == [None]


def test_anthropics_own_span_is_not_made_beside_ours(answering: ScriptedProvider) -> None:
    theirs = InMemorySpanExporter()
    with capture() as captured:
        given = TracerProvider()
        given.add_span_processor(SimpleSpanProcessor(theirs))
        client = claude(answering, open_telemetry={"tracer_provider": given})
        list(client.messages.create(**LIMITED, stream=True))
        client.messages.create(**LIMITED)
        assert len(captured.generations) == 2
        assert theirs.get_finished_spans() == ()

    client.messages.create(**LIMITED)
    assert len(theirs.get_finished_spans()) == 1  # it comes back with our leave


def test_uninstrumenting_restores_the_client(answering: ScriptedProvider) -> None:
    before = vars(openai._base_client.SyncAPIClient)["request"]
    with capture() as captured:
        OpenAIInstrumentor().uninstrument()
        assert vars(openai._base_client.SyncAPIClient)["request"] is before
        gpt(answering).chat.completions.create(**ASKED)
        assert captured.generations == []
    assert trace.get_current_span() is trace.INVALID_SPAN
