"""A chat in the browser: a plain DSPy program, whose tokens reach the page over a WebSocket or over plain HTTP."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import dspy
from server import Asked, serve, serving

from otel_tokenstream import correlate, stream_fields, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

sys.path.insert(0, str(Path(__file__).parent.parent))

from connection import CONNECTION, MODEL  # beside the other examples

program = dspy.Predict("history: dspy.History, question -> answer")


async def answer(asked: Asked) -> AsyncIterator[dict[str, str]]:
    """Yield each token as it comes, then the whole answer."""
    request_id = uuid4().hex  # our own: a page that knows another one's conversation still gets only its own tokens
    came = tokens(fields=["answer"], correlation={"request_id": request_id})
    answering = asyncio.create_task(predict(asked, request_id))
    try:
        async for token in came.until(answering):
            if token.text:
                yield {"token": token.text}
        yield {"complete": await answering}
    except Exception as error:  # noqa: BLE001  # a provider may fail in many ways, and the page must hear of each
        yield {"error": type(error).__name__}
    finally:
        answering.cancel()  # a reader that went, or said stop, ends the provider's stream too
        came.close()


async def predict(asked: Asked, request_id: str) -> str:
    with correlate(conversation_id=asked.conversation_id, request_id=request_id), stream_fields(["answer"]):
        prediction = await program.acall(question=asked.question, history=dspy.History(messages=asked.history))
    return str(prediction.answer)


if __name__ == "__main__":
    dspy.configure(lm=dspy.LM(MODEL, cache=False, **CONNECTION))
    serve(serving(answer))
