"""LangChain's models, alone and in what programs put around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.entries.entry import ALL, ID, PLAIN, USAGE, Entry

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider


def _chat(provider: ScriptedProvider) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model="test", base_url=provider.base_url, api_key="none", max_retries=0, timeout=77, stream_usage=True
    )


def _responses(provider: ScriptedProvider) -> Any:
    from langchain_openai import ChatOpenAI

    about = {"base_url": provider.base_url, "api_key": "none", "max_retries": 0, "timeout": 77}
    return ChatOpenAI(model="test", use_responses_api=True, **about)


def _claude(provider: ScriptedProvider) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model="test", base_url=provider.address, api_key="none", max_retries=0, timeout=77)


def _litellm(provider: ScriptedProvider) -> Any:
    from langchain_litellm import ChatLiteLLM

    return ChatLiteLLM(
        model="test", custom_llm_provider="openai", api_base=provider.base_url, api_key="none", max_retries=0
    )


def _completions(provider: ScriptedProvider) -> Any:
    from langchain_openai import OpenAI

    return OpenAI(model="test", base_url=provider.base_url, api_key="none", max_retries=0, timeout=77)


def _chain(provider: ScriptedProvider) -> Any:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    return ChatPromptTemplate.from_template("{input}") | _chat(provider) | StrOutputParser()


def _parallel(provider: ScriptedProvider) -> Any:
    from langchain_core.runnables import RunnableParallel

    return RunnableParallel(left=_chat(provider), right=_chat(provider))


def _graph(provider: ScriptedProvider) -> Any:
    from langgraph.graph import START, MessagesState, StateGraph

    model = _chat(provider)
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "ask")
    return graph.compile()


def _read_events(provider: ScriptedProvider) -> None:
    for _ in _chat(provider).stream_events("Why?", version="v3"):
        pass


_ASKED = {"messages": [{"role": "user", "content": "Why?"}]}
_BOTH, _INVOKE = ("stream", "astream"), ("invoke", "ainvoke")


def _ways(make: Any, methods: tuple[str, ...], given: Any = "Why?", **options: Any) -> Any:
    def way(method: str) -> Any:
        return lambda provider: getattr(make(provider), method)(given, **options)

    return tuple(way(method) for method in methods)


def _entry(name: str, make: Any, methods: tuple[str, ...], seen: frozenset[str] = ALL, **more: Any) -> Entry:
    calls = more.pop("calls", 1)
    return Entry("LangChain", name, _ways(make, methods, **more), seen, calls)


LANGCHAIN = (
    _entry("model.stream(), .astream()", _chat, _BOTH),
    _entry("model.invoke(), .ainvoke()", _chat, _INVOKE, PLAIN),
    _entry("model.batch(), .abatch() of two", _chat, ("batch", "abatch"), PLAIN, calls=2, given=["Why?", "How?"]),
    *(_entry(f'model.astream_events(version="v{n}")', _chat, ("astream_events",), version=f"v{n}") for n in (1, 2, 3)),
    Entry("LangChain", 'model.stream_events(version="v3")', (_read_events,)),
    _entry("chain.stream(), .astream()", _chain, _BOTH, given={"input": "Why?"}),
    _entry("chain.invoke(), .ainvoke()", _chain, _INVOKE, PLAIN, given={"input": "Why?"}),
    _entry("RunnableParallel of two, stream(), astream()", _parallel, _BOTH, calls=2),
    _entry(
        'graph.stream(stream_mode="messages"), of LangGraph', _graph, ("stream",), given=_ASKED, stream_mode="messages"
    ),
    _entry("graph.invoke()", _graph, ("invoke",), PLAIN, given=_ASKED),
    _entry("model.with_retry(): stream()", lambda at: _chat(at).with_retry(), _BOTH),
    _entry("model.with_fallbacks(): stream()", lambda at: _chat(at).with_fallbacks([_chat(at)]), _BOTH),
    _entry("model.bind_tools(): stream()", lambda at: _chat(at).bind_tools([]), _BOTH),
    _entry("ChatOpenAI with use_responses_api: stream()", _responses, _BOTH),
    _entry("ChatAnthropic: stream()", _claude, _BOTH),
    _entry("ChatLiteLLM: stream()", _litellm, _BOTH, ALL - {ID}),
    _entry("completion model: stream()", _completions, _BOTH, ALL - {USAGE}),
    _entry("completion model: invoke()", _completions, _INVOKE, PLAIN - {ID}),
)
