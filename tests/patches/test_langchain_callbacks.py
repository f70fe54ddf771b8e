"""Callbacks that LangChain's completion models make in the midst of a read: their time, and calls made in them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, CallbackManagerForLLMRun
from langchain_core.language_models import BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_openai import OpenAI
from opentelemetry import trace
from pydantic import Field

from otel_tokenstream import LangChainInstrumentor, signals
from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

SLOW = 0.3
HOW = ["stream", "invoke", "astream", "ainvoke"]
ASKED: dict[str, Any] = {"model": "other", "messages": [{"role": "user", "content": "Why?"}]}


class Handler(BaseCallbackHandler):
    raise_error = True

    def __init__(self, at: int, then: Callable[[], Any]) -> None:
        self.at = at
        self.then = then
        self.told = 0

    def on_llm_new_token(self, *_: Any, **__: Any) -> None:
        self.told += 1
        if self.told == self.at:
            self.then()


class AsyncHandler(AsyncCallbackHandler):
    def __init__(self, asking: Callable[[], Any]) -> None:
        self.asking = asking
        self.told = 0

    async def on_llm_new_token(self, *_: Any, **__: Any) -> None:
        self.told += 1
        if self.told == 2:
            await self.asking()


@pytest.fixture
def answering(provider: ScriptedProvider) -> ScriptedProvider:
    provider.scripts["test"] = Script(pieces=["a"] * 4, gap=0.001)
    provider.scripts["other"] = Script(pieces=["b"] * 3, gap=0.001)
    return provider


async def ask(provider: ScriptedProvider, how: str, handler: Any) -> None:
    model = OpenAI(
        model="test", base_url=provider.base_url, api_key="none", max_retries=0, streaming=how.endswith("invoke")
    )
    result = getattr(model, how)("Why?", config={"callbacks": [handler]})
    if how == "stream":
        list(result)
    elif how == "astream":
        [chunk async for chunk in result]
    elif how == "ainvoke":
        await result


def sdk(provider: ScriptedProvider, kind: str = "OpenAI") -> Any:
    return getattr(openai, kind)(base_url=provider.base_url, api_key="none", max_retries=0).chat.completions


@pytest.mark.parametrize("how", HOW)
async def test_the_time_of_a_callback_is_the_consumers(
    answering: ScriptedProvider, tokenstream: Capture, how: str
) -> None:
    await ask(answering, how, Handler(2, lambda: time.sleep(SLOW)))

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.WAIT_MAX_MS] < SLOW * 1000
    assert generation.attributes[signals.CONSUMER_TOTAL_MS] >= SLOW * 1000


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_the_first_token_is_there_before_its_callback(
    answering: ScriptedProvider, tokenstream: Capture, how: str
) -> None:
    await ask(answering, how, Handler(1, lambda: time.sleep(1)))

    (generation,) = tokenstream.generations
    assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] < 1000
    assert generation.attributes[signals.CONSUMER_TOTAL_MS] >= 1000


@pytest.mark.parametrize("how", HOW)
async def test_a_call_made_in_a_callback_is_a_call_of_its_own(
    answering: ScriptedProvider, tokenstream: Capture, how: str
) -> None:
    await ask(answering, how, Handler(2, lambda: sdk(answering).create(**ASKED)))

    inner, outer = tokenstream.generations
    assert [each.outcome for each in (inner, outer)] == ["completed"] * 2
    assert inner.attributes[signals.USAGE_OUTPUT_TOKENS] == 3
    assert inner.span.parent is None


async def test_a_call_made_in_an_async_callback_is_a_call_of_its_own(
    answering: ScriptedProvider, tokenstream: Capture
) -> None:
    await ask(answering, "astream", AsyncHandler(lambda: sdk(answering, "AsyncOpenAI").create(**ASKED)))

    inner, outer = tokenstream.generations
    assert [each.outcome for each in (inner, outer)] == ["completed"] * 2
    assert inner.attributes[signals.USAGE_OUTPUT_TOKENS] == 3
    assert inner.span.parent is None


@pytest.mark.parametrize("how", HOW)
@pytest.mark.usefixtures("tokenstream")
async def test_the_span_that_is_current_in_a_callback_is_the_programs(answering: ScriptedProvider, how: str) -> None:
    seen = []
    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=False))) as span:
        await ask(answering, how, Handler(2, lambda: seen.append(trace.get_current_span())))
        assert trace.get_current_span() is span

    assert seen == [span]


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_a_callback_that_raises_fails_the_call(
    answering: ScriptedProvider, tokenstream: Capture, how: str
) -> None:
    refusal = ValueError("no")

    def fail() -> None:
        raise refusal

    with pytest.raises(ValueError, match="no"):
        await ask(answering, how, Handler(2, fail))

    (generation,) = tokenstream.generations
    assert generation.outcome == "failed"
    assert trace.get_current_span() is trace.INVALID_SPAN


class Own(BaseLLM):
    """A model that calls back before it waits for the chunk that it gives, and keeps what it was called with."""

    seen: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "own"

    def _generate(self, *_: Any, **__: Any) -> LLMResult:
        return LLMResult(generations=[[Generation(text="a")]])

    def _stream(self, *_: Any, run_manager: Any = None, **__: Any) -> Iterator[GenerationChunk]:
        self.seen.append((type(run_manager), set(vars(run_manager))))
        for text in "ab":
            run_manager.on_llm_new_token(text)
            time.sleep(SLOW)
            yield GenerationChunk(text=text)


def test_what_a_model_waits_for_after_a_callback_is_a_wait(tokenstream: Capture) -> None:
    list(Own().stream("Why?", config={"callbacks": [Handler(2, lambda: time.sleep(SLOW))]}))

    (generation,) = tokenstream.generations
    assert generation.attributes[signals.WAIT_TOTAL_MS] >= 2 * SLOW * 1000
    assert generation.attributes[signals.CONSUMER_TOTAL_MS] >= SLOW * 1000


@pytest.mark.usefixtures("tokenstream")
def test_a_model_is_given_langchains_own_run_manager() -> None:
    model = Own()
    list(model.stream("Why?"))
    ((kind, names),) = model.seen

    assert kind is CallbackManagerForLLMRun
    assert "on_llm_new_token" not in names


def test_langchains_callbacks_are_as_before_without_instrumentation() -> None:
    before = vars(CallbackManagerForLLMRun)["on_llm_new_token"]
    LangChainInstrumentor().instrument()
    try:
        list(Own().stream("Why?"))
    finally:
        LangChainInstrumentor().uninstrument()

    assert vars(CallbackManagerForLLMRun)["on_llm_new_token"] is before
