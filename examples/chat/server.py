"""The chat's server: a page, and an answer over a WebSocket or over plain HTTP, message by message."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import StreamingResponse
from page_files import PROTECTION, PageFiles
from pydantic import BaseModel, ValidationError

from otel_tokenstream import flush

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

HERE = Path(__file__).parent


class Asked(BaseModel):
    """The page keeps the conversation and sends all of it, so that this server remembers nothing."""

    conversation_id: str
    question: str
    history: list[dict[str, str]] = []
    """Questions with their answers, as the program has them."""


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await asyncio.to_thread(flush)  # uvicorn ends by the signal it got, and nothing runs after that


def serving(answer: Callable[[Asked], AsyncIterator[dict[str, str]]]) -> FastAPI:
    """Return the application; ``answer`` yields each token as it comes, then the whole answer or an error."""
    app = FastAPI(lifespan=lifespan)

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
            sending = asyncio.create_task(send(browser, answer(asked)))
            leaving = asyncio.create_task(browser.receive())
            leaving.add_done_callback(lambda _: sending.cancel())
            await sending
            await browser.close()

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.mount("/", PageFiles(directory=HERE / "page", html=True))
    return app


async def send(browser: WebSocket, answer: AsyncIterator[dict[str, str]]) -> None:
    async with aclosing(answer) as messages:
        async for message in messages:
            await browser.send_json(message)


class Server(uvicorn.Server):
    """Says where it is once it can be reached, and ended."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            print(f"http://127.0.0.1:{each.getsockname()[1]}  (Ctrl-C ends it)", flush=True)


def serve(app: FastAPI) -> None:
    """Serve on the port that the environment names, until Ctrl-C."""
    listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8000"))))
    with suppress(KeyboardInterrupt):
        Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
