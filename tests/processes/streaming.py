"""What programs under test do: read streams of the scripted provider, whose address is in PROVIDER."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import litellm

from otel_tokenstream.core.call import in_flight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

CHUNKS = 6
"""Chunks that a caller gets from the model ``short``."""


def asked(model: str = "short") -> dict[str, Any]:
    return {
        "model": f"openai/{model}",
        "messages": [{"role": "user", "content": "Go on."}],
        "stream": True,
        "api_base": os.environ["PROVIDER"],
        "api_key": "none",
        "max_retries": 0,
    }


def opened(model: str = "short") -> Any:
    return litellm.completion(**asked(model))


def read(model: str = "short") -> int:
    """Read one stream to its end and return how many chunks it had."""
    return sum(1 for _ in opened(model))


async def aread(model: str = "short") -> int:
    return sum([1 async for _ in await litellm.acompletion(**asked(model))])


def blocked() -> None:
    """Wait until a read of the one open stream lasts."""
    (call,) = in_flight.snapshot()
    asked = 0
    while not asked or asked != call.read_started:
        asked = call.read_started
        time.sleep(0.2)


def wsgi(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    chunks = read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(chunks).encode()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    chunks = await aread()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(chunks).encode()})


async def _live(
    receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    from otel_tokenstream import flush

    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    # The server dies of the signal that stops it: no exit handler runs after this.
    await asyncio.to_thread(flush)
    await send({"type": "lifespan.shutdown.complete"})
