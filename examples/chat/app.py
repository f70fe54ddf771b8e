"""A chat in the browser: a plain DSPy program, whose tokens reach the page over a WebSocket or over plain HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import dspy
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import StreamingResponse
from page_files import PROTECTION, PageFiles
from pydantic import BaseModel, ValidationError

from otel_tokenstream import correlate, flush, stream_fields, tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from connection import CONNECTION, MODEL  # noqa: E402  # beside the other examples


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(flush)  # uvicorn ends by the signal it got, and nothing runs after that


app = FastAPI(lifespan=lifespan)
program = dspy.Predict("history: dspy.History, question -> answer")


class Asked(BaseModel):
    """The page keeps the conversation and sends all of it, so that this server remembers nothing."""

    conversation_id: str
    question: str
    history: list[dict[str, str]] = []
    """Questions with their answers, as the program has them."""


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


@app.post("/answer")
async def over_http(asked: Asked) -> StreamingResponse:
    lines = (f"{json.dumps(message)}\n" async for message in answer(asked))
    return StreamingResponse(lines, headers=PROTECTION, media_type="application/x-ndjson")


@app.websocket("/chat")
async def over_websocket(browser: WebSocket) -> None:
    """One socket an answer, so that closing it means stop, and nothing of an old answer gets into a new one."""
    if browser.headers.get("origin") != f"http://{browser.headers['host']}":
        await browser.close()  # browsers let pages of any site open sockets here
        return
    await browser.accept()
    with suppress(asyncio.CancelledError, WebSocketDisconnect):
        try:
            asked = Asked.model_validate_json(await browser.receive_text())
        except ValidationError:
            await browser.close(1003, "not a question")
            return
        sending = asyncio.create_task(send(browser, asked))
        leaving = asyncio.create_task(browser.receive())
        leaving.add_done_callback(lambda _: sending.cancel())
        await sending
        await browser.close()


async def send(browser: WebSocket, asked: Asked) -> None:
    async with aclosing(answer(asked)) as messages:
        async for message in messages:
            await browser.send_json(message)


app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
app.mount("/", PageFiles(directory=HERE / "page", html=True))


class Server(uvicorn.Server):
    """Says where it is once it can be reached, and ended."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            print(f"http://127.0.0.1:{each.getsockname()[1]}  (Ctrl-C ends it)", flush=True)


if __name__ == "__main__":
    dspy.configure(lm=dspy.LM(MODEL, cache=False, **CONNECTION))
    listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8000"))))
    with suppress(KeyboardInterrupt):
        Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
