"""A LangGraph agent with tools in the chat of the browser: the page has its words while it still looks things up."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_litellm import ChatLiteLLM

from otel_tokenstream import correlate, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXAMPLES = Path(__file__).parent.parent
sys.path[:0] = [str(EXAMPLES), str(EXAMPLES / "chat")]

from connection import CONNECTION, MODEL  # noqa: E402  # beside the other examples
from server import Asked, serve, serving  # noqa: E402  # the chat's

GLOSSARY = {
    "chunk": "a piece of an answer, as it came in one read",
    "token": "a unit that a model counts text in",
    "stall": "a read after the first token that was blocked for two seconds or longer",
}


@tool
def look_up(term: str) -> str:
    """Return the meaning of a term of streaming."""
    return GLOSSARY.get(term.strip().lower(), "no such term; there are " + ", ".join(GLOSSARY))


@tool
def count_words(text: str) -> int:
    """Return how many words a text has."""
    return len(text.split())


agent = create_agent(ChatLiteLLM(model=MODEL, streaming=True, **CONNECTION), [look_up, count_words], name="librarian")


async def answer(asked: Asked) -> AsyncIterator[dict[str, str]]:
    """Yield each word as it comes, then the whole answer."""
    request_id = uuid4().hex
    came = tokens(correlation={"request_id": request_id})
    answering = asyncio.create_task(ask(asked, request_id))
    try:
        async for token in came.until(answering):
            if token.text and token.kind == "text":  # a call of a tool comes in tokens, too
                yield {"token": token.text}
        yield {"complete": await answering}
    except Exception as error:  # noqa: BLE001  # a provider may fail in many ways, and the page must hear of each
        yield {"error": type(error).__name__}
    finally:
        answering.cancel()  # a reader that went, or said stop, ends the provider's stream too
        came.close()


async def ask(asked: Asked, request_id: str) -> str:
    messages = [
        message
        for turn in asked.history
        for message in (("user", turn.get("question", "")), ("assistant", turn.get("answer", "")))
    ]
    state: dict[str, Any] = {"messages": [*messages, ("user", asked.question)]}
    config = {"configurable": {"thread_id": asked.conversation_id}}
    with correlate(conversation_id=asked.conversation_id, request_id=request_id):
        async for kind, value in agent.astream(state, config, stream_mode=["messages", "values"]):
            state = value if kind == "values" else state
    said = state["messages"][len(messages) + 1 :]
    return "".join(message.text for message in said if message.type == "ai")


if __name__ == "__main__":
    serve(serving(answer))
