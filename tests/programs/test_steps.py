"""Tools and retrievers of a program: one span each, in its place, without content unless that is asked for."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import dspy
import numpy as np
import pytest
from opentelemetry.trace import SpanKind, StatusCode

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.programs.catalogue import CORPUS, QUESTION, Rag, language_model, look_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

CONTENT = (
    signals.TOOL_CALL_ARGUMENTS,
    signals.TOOL_CALL_RESULT,
    signals.RETRIEVAL_QUERY,
    signals.RETRIEVAL_DOCUMENTS,
)


@pytest.fixture(autouse=True)
def lm(provider: ScriptedProvider) -> Iterator[None]:
    provider.scripts["gpt-4o"] = Script(gap=0.0002)
    with dspy.context(lm=language_model(provider, "lm15"), adapter=dspy.ChatAdapter()):
        yield


@pytest.fixture
def captured() -> Iterator[Capture]:
    with capture() as everything:
        yield everything


def spans(captured: Capture, name: str) -> list[ReadableSpan]:
    return [span for span in captured.spans if span.name == name]


def parent(captured: Capture, span: ReadableSpan) -> str | None:
    names = {each.context.span_id: each.name for each in captured.spans}
    return names.get(span.parent.span_id) if span.parent else None


class Told(dict):
    """What a server of passages answers."""

    @property
    def long_text(self) -> str:
        return self["long_text"]


class Server:
    def __call__(self, query: str, k: int = 3) -> list[Told]:
        assert query
        return [Told(long_text=passage, pid=number) for number, passage in enumerate(CORPUS[:k])]


def embed(texts: list[str]) -> Any:
    return np.array([[len(text), text.count("e"), 1.0] for text in texts])


# --- Tools ---------------------------------------------------------------------------------------


async def test_each_tool_of_an_agent_has_a_span(captured: Capture) -> None:
    """Under the agent, named as the conventions have it, sync and async."""
    agent = dspy.ReAct("question -> answer", tools=[look_up], max_iters=2)
    agent(question="Is it raining in Bergen?")
    await agent.acall(question="Is it raining in Oslo?")

    found = spans(captured, "execute_tool look_up")
    assert len(found) == 2
    for span in found:
        assert parent(captured, span) == "ReAct"
        assert span.kind is SpanKind.INTERNAL
        assert dict(span.attributes or {}) == {
            signals.OPERATION_NAME: "execute_tool",
            signals.TOOL_NAME: "look_up",
            signals.TOOL_TYPE: "function",
        }
    assert "execute_tool look_up" not in {call.name for call in captured.generations}


def test_a_call_with_an_id_is_one_span(captured: Capture) -> None:
    """The model's own tool call tells its id, and the tool it reaches has no second span."""
    call = dspy.ToolCalls.ToolCall(name="look_up", args={"city": "Bergen"}, id="call_1")
    assert call.execute({"look_up": dspy.Tool(look_up)}) == "It rains in Bergen."
    assert call.execute([dspy.Tool(look_up)]) == "It rains in Bergen."

    found = spans(captured, "execute_tool look_up")
    assert [span.attributes[signals.TOOL_CALL_ID] for span in found] == ["call_1", "call_1"]


@pytest.mark.parametrize("handed", ["list", "tool", "method", "function"])
def test_a_tool_that_uses_others_of_its_name_shows_them(captured: Capture, handed: str) -> None:
    """Each run of an inner tool has its span under the call's, however the call reaches its function."""
    inner = dspy.Tool(lambda city: city, name="look", args={"city": {"type": "string"}})

    def look(city: str) -> str:
        return str(inner(city=city) + inner(city=city)) if city else "again " + str(outer(city="Bergen"))

    outer = dspy.Tool(look)
    reached = {"tool": outer, "method": outer.__call__, "function": look}
    call = dspy.ToolCalls.ToolCall(name="look", args={"city": ""}, id="call_1")

    assert call.execute([outer] if handed == "list" else {"look": reached[handed]}) == "again BergenBergen"
    found = spans(captured, "execute_tool look")
    assert len(found) == 4
    assert [signals.TOOL_CALL_ID in (span.attributes or {}) for span in found].count(True) == 1
    assert [parent(captured, span) for span in found].count(None) == 1


def test_a_call_finds_its_function_among_the_callers_names(captured: Capture) -> None:
    """Without functions DSPy looks at where the call is made; what is not there is refused as without us."""

    def found_here(city: str) -> str:
        return f"{city} is {found_here.__name__}"

    call = dspy.ToolCalls.ToolCall(name="found_here", args={"city": "Bergen"})
    assert call.execute() == "Bergen is found_here"
    assert dspy.ToolCalls.ToolCall(name="look_up", args={"city": "Oslo"}).execute() == "It rains in Oslo."
    with pytest.raises(ValueError, match="'nowhere' not found"):
        dspy.ToolCalls.ToolCall(name="nowhere", args={}).execute()

    assert [span.name for span in captured.spans] == [
        f"execute_tool {name}" for name in ("found_here", "look_up", "nowhere")
    ]


async def test_a_failing_tool_leaves_the_class_of_its_error(captured: Capture) -> None:
    """And nothing of what the error says."""

    def broken(word: str) -> str:
        raise LookupError(word)

    async def abroken(word: str) -> str:
        raise LookupError(word)

    with pytest.raises(LookupError):
        dspy.Tool(broken)(word="secret")
    with pytest.raises(LookupError):
        await dspy.Tool(abroken).acall(word="secret")
    for name in ("broken", "abroken"):
        (span,) = spans(captured, f"execute_tool {name}")
        assert span.attributes[signals.ERROR_TYPE] == "LookupError"
        assert (span.status.status_code, span.status.description, span.events) == (StatusCode.ERROR, None, ())


def test_tools_can_be_copied_and_called_in_threads(captured: Capture) -> None:
    """An instrumented tool is a plain model of pydantic's still."""
    tool = dspy.Tool(look_up).model_copy()
    dspy.Parallel(num_threads=2, disable_progress_bar=True)([(tool, {"city": "Oslo"}), (tool, {"city": "Bergen"})])
    assert len(spans(captured, "execute_tool look_up")) == 2


# --- Retrievers ----------------------------------------------------------------------------------


def test_a_program_that_retrieves_shows_it_between_its_steps(captured: Capture) -> None:
    """A retriever of the user's own, by DSPy's base class."""
    Rag()(question=QUESTION)

    order = [span.name for span in sorted(captured.spans, key=lambda span: span.start_time)]
    assert order == ["Rag", "Predict", "chat gpt-4o", "retrieval", "ChainOfThought", "Predict", "chat gpt-4o"]
    (span,) = spans(captured, "retrieval")
    assert parent(captured, span) == "Rag"
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes or {}) == {
        signals.OPERATION_NAME: "retrieval",
        signals.DSPY_MODULE: "Keyword",
        signals.RETRIEVAL_TOP_K: 2,
    }


def test_dspys_own_retrievers_have_a_span_each(captured: Capture) -> None:
    """By embeddings, and by the server that DSPy is configured with."""
    dspy.retrievers.Embeddings(CORPUS, embed, k=2)("Why blue?")
    with dspy.context(rm=Server()):
        assert len(dspy.Retrieve(k=2)("Why blue?").passages) == 2

    found = [span.attributes for span in spans(captured, "retrieval")]
    assert [(each[signals.DSPY_MODULE], each[signals.RETRIEVAL_TOP_K]) for each in found] == [
        ("Embeddings", 2),
        ("Retrieve", 2),
    ]


class Passages(BaseHTTPRequestHandler):
    """A ColBERTv2 server."""

    def do_GET(self) -> None:
        answer = json.dumps({"topk": [{"text": passage, "pid": 1, "score": 0.5} for passage in CORPUS]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_of_passages_has_a_span(captured: Capture) -> None:
    """By DSPy's client for it; the number of passages may be given by position."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Passages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = dspy.ColBERTv2(url=f"http://127.0.0.1:{server.server_port}/api")("Why blue?", 2)
        server.shutdown()

    assert len(found) == 2
    (span,) = spans(captured, "retrieval")
    assert span.attributes is not None
    assert span.attributes[signals.DSPY_MODULE] == "ColBERTv2"
    assert span.attributes[signals.RETRIEVAL_TOP_K] == 2


def test_a_retriever_that_asks_another_is_one_retrieval(captured: Capture) -> None:
    """dspy.Retrieve over a retriever that is seen itself."""

    class Outer(dspy.Retrieve):
        def forward(self, query: str, k: int | None = None) -> Any:
            return dspy.retrievers.Embeddings(CORPUS, embed, k=k or 1)(query)

    Outer(k=1)("Why blue?")
    assert [span.attributes[signals.DSPY_MODULE] for span in spans(captured, "retrieval")] == ["Outer"]


def test_a_failing_retriever_leaves_the_class_of_its_error(captured: Capture) -> None:
    """DSPy without a retriever."""
    with dspy.context(rm=None), pytest.raises(AssertionError):
        dspy.Retrieve()("Why?")
    (span,) = spans(captured, "retrieval")
    assert span.attributes[signals.ERROR_TYPE] == "AssertionError"


# --- Content -------------------------------------------------------------------------------------


def test_content_is_there_only_where_it_is_asked_for() -> None:
    """Arguments, results, queries and passages stand on spans with capture, and pass the redaction."""

    def shown(**settings: Any) -> list[dict[str, Any]]:
        with capture(**settings) as captured:
            dspy.Tool(look_up)(city="Bergen")
            dspy.retrievers.Embeddings(CORPUS, embed, k=1)("Why blue?")
        return [
            {key: value for key, value in (span.attributes or {}).items() if key in CONTENT} for span in captured.spans
        ]

    assert shown() == [{}, {}]
    assert shown(capture_content="EVENT_ONLY") == [{}, {}]
    tool, retrieval = shown(capture_content="SPAN_ONLY")
    assert json.loads(tool[signals.TOOL_CALL_ARGUMENTS]) == {"city": "Bergen"}
    assert tool[signals.TOOL_CALL_RESULT] == "It rains in Bergen."
    assert retrieval[signals.RETRIEVAL_QUERY] == "Why blue?"
    (document,) = json.loads(retrieval[signals.RETRIEVAL_DOCUMENTS])
    assert document["content"] in CORPUS

    tool, retrieval = shown(capture_content="SPAN_ONLY", redact=lambda text: text.replace("Bergen", "***"))
    assert json.loads(tool[signals.TOOL_CALL_ARGUMENTS]) == {"city": "***"}
    assert tool[signals.TOOL_CALL_RESULT] == "It rains in ***."
