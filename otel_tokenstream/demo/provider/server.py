"""An HTTP server that answers by script, in the formats of OpenAI, Anthropic and Gemini."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from aiohttp import web

from otel_tokenstream.demo.provider.chat_completions import ChatCompletion
from otel_tokenstream.demo.provider.generate_content import GeneratedArray, GeneratedContent
from otel_tokenstream.demo.provider.human import HUMAN, NAMED_SCRIPTS
from otel_tokenstream.demo.provider.log import Exchange, ExchangeLog
from otel_tokenstream.demo.provider.messages import Message
from otel_tokenstream.demo.provider.performance import Performance
from otel_tokenstream.demo.provider.responses import Response
from otel_tokenstream.demo.provider.script import Script
from otel_tokenstream.demo.provider.text_completions import TextCompletion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from otel_tokenstream.demo.provider.reply import Reply

HOST = "127.0.0.1"
LARGEST_REQUEST = 64 * 1024**2


class ScriptedProvider:
    """Serves from a thread of its own while the ``with`` block lasts.

    ``scripts`` maps model names to scripts; a sequence is used up request by request and its last
    script stays. A model without a script answers like ``human``.
    """

    def __init__(self, port: int = 0) -> None:
        self.scripts: MutableMapping[str, Script | Sequence[Script]] = dict(NAMED_SCRIPTS)
        self.log = ExchangeLog()
        self.port = port
        self._numbers = count(1)
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, name="scripted-provider", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def base_url(self) -> str:
        """Base URL for an OpenAI client."""
        return f"{self.address}/v1"

    def reset(self) -> None:
        """Forget the log and every script that is not built in."""
        self.log.clear()
        self.scripts = dict(NAMED_SCRIPTS)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        async def serve() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            async with self.serving():
                self._ready.set()
                await self._stop.wait()

        try:
            asyncio.run(serve())
        except BaseException as failure:  # noqa: BLE001 - raised again in the thread that waits for us
            self._failure = failure
            self._ready.set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Accept connections on the running loop; ``port`` is the real one from then on."""
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.add_routes(self.routes())
        # Cancelling the handler is how a client's going is noticed in the middle of a pause.
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self.port, backlog=1024)
            await site.start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    # --- Routes ---------------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", partial(self.answer, ChatCompletion)),
            web.post("/v1/completions", partial(self.answer, TextCompletion)),
            web.post("/v1/responses", partial(self.answer, Response)),
            web.post("/v1/messages", partial(self.answer, Message)),
            # Azure's path says the model, and so does its body.
            web.post("/openai/deployments/{model}/chat/completions", partial(self.answer, ChatCompletion)),
            web.post("/openai/deployments/{model}/completions", partial(self.answer, TextCompletion)),
            web.post("/openai/responses", partial(self.answer, Response)),
            web.post("/v1/models/{model}:{method}", self._generate_content),
            web.get("/v1/models", self._models),
            web.get("/log", self._show_log),
            web.delete("/log", self._clear_log),
        ]

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "object": "list",
                "data": [{"id": name, "object": "model", "owned_by": "scripted"} for name in self.scripts],
            }
        )

    async def _show_log(self, _: web.Request) -> web.Response:
        return web.json_response([exchange.as_json() for exchange in self.log.exchanges()])

    async def _clear_log(self, _: web.Request) -> web.Response:
        self.log.clear()
        return web.Response(status=204)

    async def _generate_content(self, request: web.Request) -> web.StreamResponse:
        """Gemini's path says what the body of the others does."""
        streamed = request.match_info["method"].startswith("stream")
        form = GeneratedContent if request.query.get("alt") == "sse" or not streamed else GeneratedArray
        return await self.answer(form, request, model=request.match_info["model"], stream=streamed)

    async def answer(self, format: type[Reply], request: web.Request, **by_path: Any) -> web.StreamResponse:
        """Answer in a format; ``by_path`` is what the path says of the request and its body does not."""
        received_ns, started = time.perf_counter_ns(), asyncio.get_running_loop().time()
        body = await request.read()
        try:
            asked = {**json.loads(body), **by_path}
            model = asked["model"]
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": {"message": "The body must be a JSON object with a model."}}, status=400)
        streamed = bool(asked.get("stream"))
        exchange = Exchange(request.path, model, streamed, body, dict(request.headers), received_ns)
        script = self._script(model, self.log.open(exchange))
        reply = format(script, asked, next(self._numbers))
        performance = Performance(request, exchange, reply, started)
        try:
            response = await performance.give()
        except (asyncio.CancelledError, ConnectionError):
            self.log.close(exchange, "disconnected")
            raise
        self.log.close(exchange, performance.ended)
        return response

    def _script(self, model: str, earlier: int) -> Script:
        script = self.scripts.get(model, HUMAN)
        return script if isinstance(script, Script) else script[min(earlier, len(script) - 1)]
