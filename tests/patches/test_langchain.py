"""LangChain's models: one generation a call, whatever the way to ask."""

from __future__ import annotations

import asyncio
import copy
import gc
import itertools
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import cloudpickle
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import LLM, BaseChatModel, GenericFakeChatModel, SimpleChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_litellm import ChatLiteLLM
from langchain_openai import ChatOpenAI, OpenAI

from otel_tokenstream import LangChainInstrumentor, signals
from otel_tokenstream.core.call import in_flight
from otel_tokenstream.demo.provider import Script, Usage
from otel_tokenstream.demo.provider.script import reasoning, tool_call
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture, Generation

PIECES = ["a", "b", "c"]
ANSWER = Script(pieces=PIECES, gap=0.001)
BROKEN = Script(ending="http_error", status=500)
_numbers = itertools.count()

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")


def chat(provider: ScriptedProvider, script: Script = ANSWER, name: str = "test", **more: Any) -> ChatOpenAI:
    provider.scripts[name] = script
    about = {"base_url": provider.base_url, "api_key": "none", "max_retries": 0, "stream_usage": True}
    # Models with the same time-out share a client, and that belongs to one event loop.
    about["timeout"] = 10_000 + next(_numbers)
    return ChatOpenAI(model=name, **{**about, **more})


def completions(provider: ScriptedProvider, **more: Any) -> OpenAI:
    provider.scripts["test"] = ANSWER
    about = {"timeout": 10_000 + next(_numbers), **more}
    return OpenAI(model="test", base_url=provider.base_url, api_key="none", max_retries=0, **about)


@pytest.fixture
def model(provider: ScriptedProvider) -> ChatOpenAI:
    return chat(provider)


class Streaming(BaseCallbackHandler, _StreamingCallbackHandler):
    """A handler that has LangChain stream underneath a plain call."""

    def tap_output_iter(self, _: Any, output: Iterator[Any]) -> Iterator[Any]:
        return output

    def tap_output_aiter(self, _: Any, output: Any) -> Any:
        return output


# --- The ways to ask ------------------------------------------------------------------------


def _stream(model: Any) -> None:
    list(model.stream("Why?"))


def _invoke_underneath(model: Any) -> None:
    model.invoke("Why?", config={"callbacks": [Streaming()]})


def _events(model: Any) -> None:
    list(model.stream_events("Why?", version="v3"))


def _events_text(model: Any) -> None:
    assert "".join(model.stream_events("Why?", version="v3").text) == "abc"


def _chain(model: Any) -> None:
    list((ChatPromptTemplate.from_template("{it}?") | model | StrOutputParser()).stream({"it": "Why"}))


async def _astream(model: Any) -> None:
    _ = [chunk async for chunk in model.astream("Why?")]


async def _ainvoke_underneath(model: Any) -> None:
    await model.ainvoke("Why?", config={"callbacks": [Streaming()]})


async def _aevents_v2(model: Any) -> None:
    _ = [event async for event in model.astream_events("Why?", version="v2")]


async def _aevents_v3(model: Any) -> None:
    _ = [event async for event in await model.astream_events("Why?", version="v3")]


async def _achain(model: Any) -> None:
    chain = ChatPromptTemplate.from_template("{it}?") | model | StrOutputParser()
    _ = [chunk async for chunk in chain.astream({"it": "Why"})]


STREAMED = (
    _stream,
    _invoke_underneath,
    _events,
    _events_text,
    _chain,
    _astream,
    _ainvoke_underneath,
    _aevents_v2,
    _aevents_v3,
    _achain,
)


@pytest.mark.parametrize("way", STREAMED)
def test_each_way_to_stream_is_one_generation_with_the_models_own_chunks(
    model: ChatOpenAI, tokenstream: Capture, way: Callable[[Any], Any]
) -> None:
    result = way(model)
    if result is not None:
        asyncio.run(result)

    (generation,) = tokenstream.generations
    told = generation.attributes
    assert generation.span.name == "chat test"
    assert generation.outcome == "completed"
    assert told[signals.REQUEST_STREAM]
    assert told[signals.PROVIDER_NAME] == "openai"
    assert told[signals.SERVER_ADDRESS] == "127.0.0.1"
    assert told[signals.CHUNKS] == len(PIECES) + 3  # the role, the finish reason, the usage
    assert told[signals.FINISH_REASONS] == ("stop",)
    assert told[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)
    assert generation.text == "abc"
    assert told[signals.TIME_TO_FIRST_TOKEN_MS] >= 0
    assert signals.ATTEMPTS not in told


async def test_a_plain_call_has_no_fields_of_a_stream(model: ChatOpenAI, tokenstream: Capture) -> None:
    model.invoke("Why?")
    await model.ainvoke([SystemMessage("Be brief."), HumanMessage("Why?")])

    for generation in tokenstream.generations:
        assert generation.outcome == "completed"
        assert signals.CHUNKS not in generation.attributes
        assert signals.REQUEST_STREAM not in generation.attributes
        assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)
        assert '"content":"abc"' in generation.attributes[signals.OUTPUT_MESSAGES]
    assert len(tokenstream.generations) == 2
    assert '"role":"system"' in tokenstream.generations[1].attributes[signals.INPUT_MESSAGES]


def test_each_input_of_a_batch_is_a_generation(model: ChatOpenAI, tokenstream: Capture) -> None:
    model.batch(["One?", "Two?", "Three?"])

    asked = {generation.attributes[signals.INPUT_MESSAGES] for generation in tokenstream.generations}
    assert len(asked) == len(tokenstream.generations) == 3


def test_a_completion_model_streams_and_answers(provider: ScriptedProvider, tokenstream: Capture) -> None:
    model = completions(provider)

    list(model.stream("Why?"))
    model.invoke("Why?")

    streamed, plain = tokenstream.generations
    assert streamed.span.name == plain.span.name == "text_completion test"
    assert streamed.text == "abc"
    assert signals.CHUNKS not in plain.attributes
    assert '"content":"abc"' in plain.attributes[signals.OUTPUT_MESSAGES]


def test_the_branches_of_a_parallel_run_are_generations_under_its_parent(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    branches = {name: chat(provider, name=name) for name in ("one", "two", "three")}

    with tokenstream.tracer_provider.get_tracer("program").start_as_current_span("mine"):
        list(RunnableParallel(**branches).stream("Why?"))

    assert {each.span.name for each in tokenstream.generations} == {"chat one", "chat two", "chat three"}
    (mine,) = (span for span in tokenstream.spans if span.name == "mine")
    assert {_root(tokenstream, each) for each in tokenstream.generations} == {mine.context.span_id}


def _root(captured: Capture, generation: Generation) -> int:
    by_id = {span.context.span_id: span for span in captured.spans}
    span = generation.span
    while span.parent is not None:
        span = by_id[span.parent.span_id]
    return int(span.context.span_id)


# --- Fallbacks and retries ------------------------------------------------------------------


def _asked(group: Any, way: str) -> None:
    if way.startswith("a"):
        asyncio.run(_awaited(group, way))
    elif way == "stream":
        list(group.stream("Why?"))
    else:
        group.invoke("Why?")


async def _awaited(group: Any, way: str) -> None:
    if way == "astream":
        _ = [chunk async for chunk in group.astream("Why?")]
    else:
        await group.ainvoke("Why?")


@pytest.mark.parametrize("way", ["stream", "astream", "invoke", "ainvoke"])
def test_fallbacks_are_attempts_of_one_generation(provider: ScriptedProvider, tokenstream: Capture, way: str) -> None:
    _asked(chat(provider, BROKEN, "broken").with_fallbacks([chat(provider)]), way)

    (generation,) = tokenstream.generations
    assert generation.span.name == "chat broken"
    assert generation.outcome == "completed"
    assert generation.attributes[signals.ATTEMPTS] == 2
    first, second = (event for event in generation.events if event.name == signals.ATTEMPT_EVENT)
    assert (first.attributes[signals.AT_MODEL], second.attributes[signals.AT_MODEL]) == ("broken", "test")
    assert first.attributes[signals.AT_ERROR_TYPE] == "OpenAIAPIError"
    assert signals.AT_ERROR_TYPE not in second.attributes
    assert signals.ERROR_TYPE not in generation.attributes


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_retries_are_attempts_of_one_generation(provider: ScriptedProvider, tokenstream: Capture, way: str) -> None:
    model = chat(provider, BROKEN, "broken").bind(stop=["end"])
    group = model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False)

    with pytest.raises(Exception, match="fails here"):
        _asked(group, way)

    (generation,) = tokenstream.generations
    assert generation.outcome == "failed"
    assert generation.attributes[signals.ATTEMPTS] == 2
    assert generation.attributes[signals.ERROR_TYPE] == "OpenAIAPIError"
    assert generation.attributes[signals.REQUEST_STOP_SEQUENCES] == ("end",)


def test_models_behind_fallbacks_of_whole_programs_are_generations_of_their_own(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    model = chat(provider)
    twice = model | StrOutputParser() | model

    def fail(_: Any) -> Any:
        message = "the program's own"
        raise RuntimeError(message)

    (twice | RunnableLambda(fail)).with_fallbacks([twice]).invoke("Why?")

    assert [generation.outcome for generation in tokenstream.generations] == ["completed"] * 4


# --- Layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stream", "astream", "invoke", "ainvoke"])
def test_litellm_under_langchain_adds_no_second_generation(
    provider: ScriptedProvider, tokenstream: Capture, way: str
) -> None:
    provider.scripts["test"] = ANSWER
    model = ChatLiteLLM(
        model="test", custom_llm_provider="openai", api_base=provider.base_url, api_key="none", max_retries=0
    )

    _asked(model, way)

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.PROVIDER_NAME] == "openai"  # whom litellm asked
    assert signals.ATTEMPTS not in generation.attributes


class Relaying(BaseChatModel):
    """A model of a program's own that hands on to another one, with a stream of its own above its parent's."""

    inner: Any

    @property
    def _llm_type(self) -> str:
        return "relaying"

    def _generate(self, messages: Any, stop: Any = None, **kwargs: Any) -> Any:
        return self.inner._generate(messages, stop=stop, **kwargs)

    def _stream(self, messages: Any, stop: Any = None, **_: Any) -> Any:
        for message in self.inner.stream(messages, stop=stop):
            yield from self.inner._stream([HumanMessage(message.content or "and?")])


class OwnCompletions(LLM):
    """A completion model of a program's own, of its shortest form."""

    ask: Any

    @property
    def _llm_type(self) -> str:
        return "own"

    def _call(self, prompt: str, *_: Any, **__: Any) -> str:
        return str(self.ask(prompt))


class OwnChat(SimpleChatModel):
    """The same as a chat model."""

    ask: Any

    @property
    def _llm_type(self) -> str:
        return "own"

    def _call(self, messages: Any, *_: Any, **__: Any) -> str:
        return str(self.ask(messages))


def _said(answer: Any) -> str:
    return str(answer.choices[0].message.content)


class Prefixed(ChatOpenAI):
    """A model whose stream is its parent's, and more."""

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        yield from super()._stream(*args, **kwargs)


def test_a_model_that_asks_another_model_is_one_generation(model: ChatOpenAI, tokenstream: Capture) -> None:
    relaying = Relaying(inner=model)

    list(relaying.stream("Why?"))
    relaying.invoke("Why?")

    assert [each.outcome for each in tokenstream.generations] == ["completed", "completed"]


def test_a_class_that_goes_on_with_its_parents_stream_is_told_once(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    provider.scripts["test"] = ANSWER
    model = Prefixed(model="test", base_url=provider.base_url, api_key="none", stream_usage=True)

    list(model.stream("Why?"))

    (generation,) = tokenstream.generations
    assert generation.attributes[signals.CHUNKS] == len(PIECES) + 3


def test_a_model_that_a_callback_asks_is_a_generation_of_its_own(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    judge = chat(provider, name="judge")

    class Judging(BaseCallbackHandler):
        def on_llm_new_token(self, token: str, **_: Any) -> None:
            if token == "b":
                judge.invoke("Good?")

    list(chat(provider).stream("Why?", config={"callbacks": [Judging()]}))

    assert [each.span.name for each in tokenstream.generations] == ["chat judge", "chat test"]
    assert tokenstream.generations[1].attributes[signals.CHUNKS] == len(PIECES) + 3


# --- What answers say -----------------------------------------------------------------------


def test_tool_calls_and_reasoning_are_told_apart(provider: ScriptedProvider, tokenstream: Capture) -> None:
    pieces = [tool_call("", name="look_up", call_id="call_1"), tool_call('{"city": '), tool_call('"Bonn"}')]
    model = chat(provider, Script(pieces=pieces, gap=0.001)).bind_tools(
        [{"name": "look_up", "description": "Weather."}]
    )

    list(model.stream("Does it rain?"))

    (generation,) = tokenstream.generations
    assert '"name":"look_up","arguments":{"city":"Bonn"}' in generation.attributes[signals.OUTPUT_MESSAGES]
    assert '"name":"look_up"' in generation.attributes[signals.TOOL_DEFINITIONS]
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)


def test_reasoning_of_anthropics_models_comes_before_the_answer(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    provider.scripts["test"] = Script(pieces=[reasoning("Hm."), "Because."], gap=0.2)
    about = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}
    model = ChatAnthropic(model="test", base_url=provider.address, api_key="none", max_retries=0, **about)

    list(model.stream("Why?"))

    (generation,) = tokenstream.generations
    told = generation.attributes
    assert told[signals.TIME_TO_FIRST_ANSWER_TOKEN_MS] > told[signals.TIME_TO_FIRST_TOKEN_MS]
    assert '{"type":"reasoning","content":"Hm."}' in told[signals.OUTPUT_MESSAGES]
    assert told[signals.PROVIDER_NAME] == "anthropic"


def test_a_kept_answer_is_marked_and_counts_no_tokens(provider: ScriptedProvider, tokenstream: Capture) -> None:
    model = chat(provider, cache=InMemoryCache())

    model.invoke("Why?")
    model.invoke("Why?")

    asked, kept = tokenstream.generations
    assert signals.CACHE_HIT not in asked.attributes
    assert kept.attributes[signals.CACHE_HIT]
    assert signals.USAGE_OUTPUT_TOKENS not in kept.attributes


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_kept_answer_of_a_completion_model_is_marked(
    provider: ScriptedProvider, tokenstream: Capture, way: str
) -> None:
    model = completions(provider, cache=InMemoryCache())

    with tokenstream.tracer_provider.get_tracer("program").start_as_current_span("mine") as mine:
        for _ in range(2):
            _asked(model, way)

    asked, kept = tokenstream.generations
    assert signals.CACHE_HIT not in asked.attributes
    assert asked.attributes[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)
    assert kept.attributes[signals.CACHE_HIT]
    assert signals.USAGE_OUTPUT_TOKENS not in kept.attributes
    assert '"content":"abc"' in kept.attributes[signals.OUTPUT_MESSAGES]
    assert {each.span.parent.span_id for each in tokenstream.generations} == {mine.get_span_context().span_id}


def test_a_batch_of_which_some_answers_are_kept_is_one_generation(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    model = completions(provider, cache=InMemoryCache())

    model.invoke("One?")
    assert model.batch(["One?", "Two?"]) == ["abc", "abc"]
    assert model.batch(["One?", "Two?"], config={"callbacks": []}) == ["abc", "abc"]

    kept = [signals.CACHE_HIT in each.attributes for each in tokenstream.generations]
    assert kept == [False, False, True]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("cache", [None, InMemoryCache])
def test_a_model_that_defines_only_call_is_asked(tokenstream: Capture, way: str, cache: Any) -> None:
    for cls in (OwnCompletions, OwnChat):
        _asked(cls(ask=lambda _: "abc", cache=cache and cache()), way)

    assert [each.span.name for each in tokenstream.generations] == ["text_completion", "chat"]
    for generation in tokenstream.generations:
        assert generation.outcome == "completed"
        assert signals.CACHE_HIT not in generation.attributes
        assert signals.ATTEMPTS not in generation.attributes
        assert '"content":"abc"' in generation.attributes[signals.OUTPUT_MESSAGES]


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_model_whose_call_asks_another_is_one_generation(
    provider: ScriptedProvider, tokenstream: Capture, way: str
) -> None:
    model, client = chat(provider), openai.OpenAI(base_url=provider.base_url, api_key="none", max_retries=0)
    question: Any = {"model": "test", "messages": [{"role": "user", "content": "Why?"}]}
    asks = (lambda _: model.invoke("Why?").content, lambda _: _said(client.chat.completions.create(**question)))

    for ask in asks:
        for cls in (OwnCompletions, OwnChat):
            _asked(cls(ask=ask), way)

    assert [each.span.name for each in tokenstream.generations] == ["text_completion", "chat"] * 2


def test_a_mocked_method_is_no_kept_answer(tokenstream: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ChatResult(generations=[ChatGeneration(message=AIMessage("abc"))])
    monkeypatch.setattr(OwnChat, "_generate", Mock(return_value=answer))

    OwnChat(ask=str).invoke("Why?")

    assert signals.CACHE_HIT not in tokenstream.generations[0].attributes


def test_a_model_that_cannot_stream_has_no_fields_of_a_stream(tokenstream: Capture) -> None:
    class Plain(GenericFakeChatModel):
        _stream = BaseChatModel._stream

    assert [chunk.content for chunk in Plain(messages=iter([AIMessage("abc")])).stream("Why?")] == ["abc"]

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert signals.CHUNKS not in generation.attributes


def test_usage_details_are_told(provider: ScriptedProvider, tokenstream: Capture) -> None:
    model = chat(provider, Script(pieces=PIECES, usage=Usage(input=90, output=30, cached=60, reasoning=20)))

    list(model.stream("Why?"))

    told = tokenstream.generations[0].attributes
    assert told[signals.USAGE_INPUT_TOKENS] == 90
    assert told[signals.USAGE_CACHE_READ] == 60
    assert told[signals.USAGE_REASONING] == 20


# --- Times ----------------------------------------------------------------------------------


def test_the_callers_time_between_chunks_is_no_wait(provider: ScriptedProvider, tokenstream: Capture) -> None:
    model = chat(provider, Script(pieces=PIECES, gap=0.0))

    for _ in model.stream("Why?"):
        time.sleep(0.05)

    told = tokenstream.generations[0].attributes
    assert told[signals.CONSUMER_TOTAL_MS] >= 50 * len(PIECES)
    assert told[signals.GAP_P50_MS] >= 50
    assert told[signals.WAIT_MAX_MS] < told[signals.CONSUMER_TOTAL_MS]


def test_time_in_a_programs_callbacks_is_no_wait(provider: ScriptedProvider, tokenstream: Capture) -> None:
    class Slow(BaseCallbackHandler):
        def on_llm_new_token(self, *_: Any, **__: Any) -> None:
            time.sleep(0.05)

    list(chat(provider, Script(pieces=PIECES, gap=0.0)).stream("Why?", config={"callbacks": [Slow()]}))

    assert tokenstream.generations[0].attributes[signals.CONSUMER_TOTAL_MS] >= 50 * len(PIECES)


async def test_a_background_readers_gaps_are_the_providers(provider: ScriptedProvider, tokenstream: Capture) -> None:
    model = chat(provider, Script(pieces=PIECES, gap=0.0))

    async for _ in await model.astream_events("Why?", version="v3"):
        await asyncio.sleep(0.05)

    told = tokenstream.generations[0].attributes
    assert told[signals.GAP_P50_MS] < 50  # whoever read the chunks did not wait for the program


# --- Ends that only LangChain's streams have --------------------------------------------------


async def test_a_task_of_langchains_that_reads_on_completes_the_call(model: ChatOpenAI, tokenstream: Capture) -> None:
    async for _ in await model.astream_events("Why?", version="v3"):
        break
    while in_flight.snapshot():
        await asyncio.sleep(0.01)

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.USAGE_OUTPUT_TOKENS] == len(PIECES)


async def test_many_programs_at_once_keep_their_parents(
    provider: ScriptedProvider, tokenstream: Capture, caplog: Any
) -> None:
    model = chat(provider, Script(pieces=PIECES, gap=0.002))
    tracer = tokenstream.tracer_provider.get_tracer("program")

    async def one(number: int) -> None:
        with tracer.start_as_current_span(f"program {number}"):
            async for _ in model.astream_events(f"Question {number}", version="v2"):
                pass

    await asyncio.gather(*(one(number) for number in range(200)))

    assert len(tokenstream.generations) == 200
    names = {span.context.span_id: span.name for span in tokenstream.spans}
    for generation in tokenstream.generations:
        number = generation.attributes[signals.INPUT_MESSAGES].partition("Question ")[2].partition('"')[0]
        assert names[_root(tokenstream, generation)] == f"program {number}"
    assert not [record for record in caplog.records if "ontext" in record.message]


# --- The program sees its own classes ---------------------------------------------------------


class Own(GenericFakeChatModel):
    """A model of the program's own."""


def test_a_replaced_method_answers_as_without_instrumentation() -> None:
    class Plain(BaseChatModel):
        _llm_type = "plain"

        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    with capture():
        list(Own(messages=iter(["a b"])).stream("Why?"))
        with pytest.raises(NotImplementedError):
            Plain().invoke("Why?")
        assert Plain._stream is BaseChatModel._stream
        assert GenericFakeChatModel._stream is not BaseChatModel._stream
        assert "_stream" not in vars(Own)


def test_uninstrumenting_restores_every_class_those_made_since_included() -> None:
    before = {name: vars(GenericFakeChatModel).get(name) for name in ("_stream", "_generate")}
    base = {name: vars(BaseChatModel)[name] for name in ("stream", "astream", "_generate_with_cache")}
    with capture() as captured:

        class Late(GenericFakeChatModel):
            def _stream(self, *args: Any, **kwargs: Any) -> Any:
                yield from super()._stream(*args, **kwargs)

        late = vars(Late)["_stream"]
        late_model = Late(messages=iter(["a b", "c d"]))
        list(late_model.stream("Why?"))
        assert len(captured.generations) == 1
        assert {name: vars(BaseChatModel)[name] for name in base} != base

    assert {name: vars(GenericFakeChatModel).get(name) for name in before} == before
    assert {name: vars(BaseChatModel)[name] for name in base} == base
    assert vars(Late).get("_stream") is not late or late.__code__.co_name == "_stream"
    assert "".join(chunk.content for chunk in late_model.stream("Why?")) == "c d"


def test_models_are_copied_and_pickled_as_without_us(model: ChatOpenAI, tokenstream: Capture) -> None:
    list(model.stream("Why?"))

    for made in (copy.copy(model), cloudpickle.loads(cloudpickle.dumps(Own(messages=iter(()))))):
        assert type(made) in (ChatOpenAI, Own)
    list(copy.copy(model).stream("Why?"))

    assert len(tokenstream.generations) == 2


def test_nothing_is_recorded_after_uninstrumenting() -> None:
    model = Own(messages=iter(["a b", "c d"]))
    with capture() as captured:
        stream = model.stream("Why?")
        next(stream)
        LangChainInstrumentor().uninstrument()
        list(model.stream("Why?"))
        assert captured.generations == []
        list(stream)
    gc.collect()
