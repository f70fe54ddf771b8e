"""LangChain's tree of runs: spans of chains, graphs, agents, tools and retrievers, and the calls of models in it."""

from __future__ import annotations

import asyncio
import copy
import itertools
import pickle
from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from opentelemetry.trace import StatusCode

from otel_tokenstream import correlate, signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.script import tool_call
from otel_tokenstream.patches.langchain import tree
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

QUESTION = {"messages": [("user", "Does it rain?")]}
AGENT = [
    ("invoke_agent weather", None),
    ("model", "invoke_agent weather"),
    ("chat test", "model"),
    ("tools", "invoke_agent weather"),
    ("execute_tool look_up", "tools"),
    ("model", "invoke_agent weather"),
    ("chat test", "model"),
]
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def every_run_ends() -> Iterator[None]:
    yield
    assert tree._runs == {}


@tool
def look_up(city: str) -> str:
    """Weather of a city."""
    return f"It rains in {city}."


def weather(asked: Mapping[str, Any]) -> list[Any]:
    """Ask for the tool first, then answer."""
    if asked["messages"][-1]["role"] == "tool":
        return ["It ", "rains."]
    return [tool_call('{"city":"Bonn"}', name="look_up", call_id="call_1")]


def chat(provider: ScriptedProvider, script: Script | None = None) -> ChatOpenAI:
    provider.scripts["test"] = script or Script(pieces=["a", "b"], gap=0.001)
    # Models with the same time-out share a client, and that belongs to one event loop; other files have other ones.
    timeout = 20_000 + next(_numbers)
    return ChatOpenAI(model="test", base_url=provider.base_url, api_key="none", max_retries=0, timeout=timeout)


def agent(provider: ScriptedProvider) -> Any:
    return create_agent(chat(provider, Script(pieces=weather, gap=0.001)), [look_up], name="weather")


def tree_of(captured: Capture) -> list[tuple[str, str | None]]:
    """(name, parent's name) of every span, in the order of their starts."""
    spans = sorted(captured.spans, key=lambda span: span.start_time)
    names = {span.context.span_id: span.name for span in spans}
    return [(span.name, names.get(span.parent.span_id) if span.parent else None) for span in spans]


def _invoke(program: Any) -> None:
    program.invoke(QUESTION)


def _stream(program: Any) -> None:
    list(program.stream(QUESTION, stream_mode="updates"))


def _stream_messages(program: Any) -> None:
    list(program.stream(QUESTION, stream_mode="messages"))


async def _astream_events(program: Any) -> None:
    _ = [event async for event in program.astream_events(QUESTION, version="v2")]


async def _ainvoke(program: Any) -> None:
    await program.ainvoke(QUESTION)


@pytest.mark.parametrize("way", [_invoke, _stream, _stream_messages, _astream_events, _ainvoke])
def test_an_agents_nodes_tools_and_calls_stand_below_it(
    provider: ScriptedProvider, tokenstream: Capture, way: Any
) -> None:
    result = way(agent(provider))
    if result is not None:
        asyncio.run(result)

    assert tree_of(tokenstream) == AGENT
    ran = next(span for span in tokenstream.spans if span.name == "execute_tool look_up")
    assert ran.attributes[signals.TOOL_CALL_ID] == "call_1"
    assert ran.attributes[signals.TOOL_CALL_ARGUMENTS] == '{"city":"Bonn"}'
    assert ran.attributes[signals.TOOL_CALL_RESULT] == "It rains in Bonn."
    streamed = way in (_stream_messages, _astream_events)
    assert all((signals.CHUNKS in each.attributes) is streamed for each in tokenstream.generations)


def test_a_chain_shows_its_model_and_neither_prompt_nor_parser(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    chain = ChatPromptTemplate.from_template("{it}?") | chat(provider) | StrOutputParser()

    assert "".join(chain.stream({"it": "Why"})) == "ab"

    assert tree_of(tokenstream) == [("RunnableSequence", None), ("chat test", "RunnableSequence")]


def test_spans_of_the_program_stand_between_a_node_and_its_call(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    model, tracer = chat(provider), tokenstream.tracer_provider.get_tracer("program")

    def node(asked: Any) -> Any:
        with tracer.start_as_current_span("mine"):
            return model.invoke(asked)

    with tracer.start_as_current_span("whole"):
        (RunnableLambda(node) | StrOutputParser()).invoke("Why?")

    assert tree_of(tokenstream) == [
        ("whole", None),
        ("RunnableSequence", "whole"),
        ("node", "RunnableSequence"),
        ("mine", "node"),
        ("chat test", "mine"),
    ]


def test_other_libraries_calls_stand_below_the_tool_that_makes_them(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    import dspy

    provider.scripts["inner"] = Script(gap=0.001)
    lm = dspy.LM("openai/inner", api_base=provider.base_url, api_key="none", cache=False)

    @tool
    def think(question: str) -> str:
        """Think."""
        with dspy.context(lm=lm):
            return str(dspy.Predict("question -> answer")(question=question).answer)

    think.invoke({"question": "Why?"})

    assert tree_of(tokenstream) == [
        ("execute_tool think", None),
        ("Predict", "execute_tool think"),
        ("chat inner", "Predict"),
    ]


def test_branches_have_the_parallel_run_above_them(provider: ScriptedProvider, tokenstream: Capture) -> None:
    model = chat(provider)

    list(RunnableParallel(one=model, two=model | StrOutputParser()).stream("Why?"))

    spans = tree_of(tokenstream)
    assert ("chat test", "RunnableParallel<one,two>") in spans
    assert ("chat test", "RunnableSequence") in spans
    assert len(spans) == 4


def test_a_retriever_tells_query_and_documents(tokenstream: Capture) -> None:
    class Found(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
            return [Document(f"about {query}", id="1", metadata={"score": 0.5})]

    Found().invoke("rain")

    (span,) = tokenstream.spans
    assert span.name == "retrieval"
    assert span.attributes[signals.RETRIEVAL_QUERY] == "rain"
    assert span.attributes[signals.RETRIEVAL_DOCUMENTS] == '[{"id":"1","score":0.5,"content":"about rain"}]'


def test_an_error_is_on_every_span_that_it_passed(tokenstream: Capture) -> None:
    def fail(_: Any) -> Any:
        message = "secret"
        raise ValueError(message)

    with pytest.raises(ValueError, match="secret"):
        (RunnableLambda(fail) | StrOutputParser()).invoke("Why?")

    assert [span.name for span in tokenstream.spans] == ["fail", "RunnableSequence"]
    for span in tokenstream.spans:
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes[signals.ERROR_TYPE] == "ValueError"
        assert not span.status.description


def test_leaving_a_chain_early_is_no_error(provider: ScriptedProvider, tokenstream: Capture) -> None:
    stream = (ChatPromptTemplate.from_template("{it}?") | chat(provider)).stream({"it": "Why"})
    next(stream)
    stream.close()

    assert {span.status.status_code for span in tokenstream.spans} == {StatusCode.UNSET}
    assert tokenstream.generations[0].outcome == "closed"


def test_content_of_tools_stays_with_the_program_unless_asked_for(provider: ScriptedProvider) -> None:
    with capture() as captured:
        agent(provider).invoke(QUESTION)

    assert not any("Bonn" in str(span.attributes) for span in captured.spans)


def test_correlation_is_on_every_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    with correlate(conversation_id="c-1"):
        agent(provider).invoke(QUESTION)

    assert {span.attributes[signals.CONVERSATION_ID] for span in tokenstream.spans} == {"c-1"}


class Told(BaseCallbackHandler):
    """A handler of the program's, which does not run inline."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_llm_start(self, *_: Any, **__: Any) -> None:
        self.events.append("start")

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.events.append("end")


async def test_the_programs_handlers_hear_of_a_completion_models_start() -> None:
    """LangChain tells it to those that do not run inline only where no handler does."""
    told = Told()
    with capture() as captured:
        await FakeListLLM(responses=["a", "b"]).abatch(["Why?", "How?"], config={"callbacks": [told]})
        chain = ChatPromptTemplate.from_template("{it}") | FakeListLLM(responses=["a"])
        events = [each["event"] async for each in chain.astream_events({"it": "Why?"}, version="v2")]

    assert sorted(told.events) == ["end", "end", "start", "start"]
    assert {"on_llm_start", "on_llm_end"} <= set(events)
    assert captured.generations


def asking(provider: ScriptedProvider) -> Any:
    """A graph of one node, which asks a model."""
    model = chat(provider)

    async def aask(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def ask(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", RunnableLambda(ask, aask))
    graph.add_edge(START, "ask")
    return graph.compile()


def test_thread_and_run_are_correlated_where_asked_for(provider: ScriptedProvider) -> None:
    run = uuid4()
    config = {"configurable": {"thread_id": "t-1"}, "run_id": run}
    with capture() as captured:
        asking(provider).invoke(QUESTION, config=config)
    assert not {signals.CONVERSATION_ID, signals.REQUEST_ID} & {
        name for span in captured.spans for name in span.attributes
    }

    with capture(langchain_ids="thread_id,run_id") as captured:
        asking(provider).invoke(QUESTION, config=config)
        with correlate(conversation_id="c-1"):
            asking(provider).invoke(QUESTION, config={"configurable": {"thread_id": 2}})

    told = [(span.attributes[signals.CONVERSATION_ID], span.attributes[signals.REQUEST_ID]) for span in captured.spans]
    first, later = told[: len(told) // 2], told[len(told) // 2 :]
    assert set(first) == {("t-1", str(run))}
    assert {thread for thread, _ in later} == {"c-1"}  # the program's own comes first
    assert len({request for _, request in later}) == 1


async def test_threads_at_once_keep_their_ids_without_any_steps(provider: ScriptedProvider) -> None:
    asked = asking(provider)
    with capture(langchain_ids="thread_id", langchain_steps=0) as captured:
        await asyncio.gather(
            *(asked.ainvoke(QUESTION, config={"configurable": {"thread_id": str(n)}}) for n in range(5))
        )

    found = Counter(each.attributes[signals.CONVERSATION_ID] for each in captured.generations)
    assert found == {str(n): 1 for n in range(5)}


def test_a_graph_of_a_thousand_steps_has_as_many_spans_as_are_wanted(provider: ScriptedProvider) -> None:
    model = chat(provider)

    def count(state: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [model.invoke("Why?")] if len(state["messages"]) % 500 == 0 else [("user", "on")]}

    graph = StateGraph(MessagesState)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    graph.add_conditional_edges("count", lambda state: END if len(state["messages"]) > 1000 else "count")

    with capture(langchain_steps=20) as captured:
        graph.compile().invoke({"messages": [("user", "start")]}, config={"recursion_limit": 2000})

    assert len(captured.generations) == 2
    assert len(captured.spans) == 20 + 2
    assert captured.generations[-1].parent.name == "invoke_agent LangGraph"


def test_no_steps_leave_the_calls_alone(provider: ScriptedProvider) -> None:
    with capture(langchain_steps=0) as captured:
        agent(provider).invoke(QUESTION)

    assert tree_of(captured) == [("chat test", None)] * 2


def test_agents_are_measured_under_the_new_names(provider: ScriptedProvider) -> None:
    with capture(metric_names="new") as captured:
        agent(provider).invoke(QUESTION)
        measured = captured.metrics

    assert tree_of(captured) == AGENT
    (duration,) = measured[signals.INVOKE_AGENT_DURATION]
    assert duration.attributes[signals.AGENT_NAME] == "weather"
    assert measured[signals.INVOKE_AGENT_TOOL_CALLS][0].sum == 1
    assert measured[signals.INVOKE_AGENT_INFERENCE_CALLS][0].sum == 2


@pytest.mark.usefixtures("tokenstream")
def test_the_callbacks_of_a_config_may_be_copied_and_sent_to_another_process() -> None:
    """Ours stays the same handler here; another process gets one that does nothing."""
    sent: list[Any] = []

    def step(text: str, config: RunnableConfig) -> str:
        manager = config["callbacks"]
        assert copy.deepcopy(manager).handlers == manager.handlers
        sent.extend(pickle.loads(pickle.dumps(manager)).handlers)
        return text

    assert RunnableLambda(step).invoke("a") == "a"
    assert [type(handler) for handler in sent] == [BaseCallbackHandler]
