"""Sending one reply: when each frame goes out, how the body ends, and what the log says of it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from itertools import count
from typing import TYPE_CHECKING, Any
from zlib import crc32

from aiohttp import web

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider.log import Exchange
    from otel_tokenstream.demo.provider.reply import Frame, Reply

BREATHER = 64  # writes without a pause before other streams get their turn


class Performance:
    """Sends one reply at the times its script sets, against absolute deadlines so that gaps do not drift."""

    def __init__(self, request: web.Request, exchange: Exchange, reply: Reply, started: float) -> None:
        self._request = request
        self._exchange = exchange
        self._script = script = reply.script
        self._reply = reply
        self._loop = asyncio.get_running_loop()
        self._headers_due = started + script.before_headers
        self._due = script.due(reply.pieces, seed=crc32(exchange.body))
        self._held: list[Frame] = []
        self._writes = count(1)
        self.ended = "finished"

    async def give(self) -> web.StreamResponse:
        if self._script.ending == "http_error":
            await self._until(self._headers_due)
            self.ended = "failed"
            return self._response(self._reply.error(), self._script.status)
        if self._exchange.streamed:
            return await self._stream()
        return await self._plain()

    async def _plain(self) -> web.StreamResponse:
        *_, last = (offset for _, offset in zip(range(len(self._reply.pieces) + 1), self._due, strict=False))
        await self._until(self._headers_due + last)
        ending = self._script.ending
        if ending == "hang":
            await asyncio.Event().wait()
        if ending == "error_frame":
            self.ended = "failed"
            return self._response(self._reply.error(), self._script.status)
        response = self._response(self._reply.body())
        if ending in ("cut", "reset"):
            await response.prepare(self._request)
            self._cut()
        return response

    async def _stream(self) -> web.StreamResponse:
        await self._until(self._headers_due)
        response = web.StreamResponse(
            headers={"Content-Type": self._reply.stream_type, "Cache-Control": "no-cache", **self._script.headers}
        )
        response.enable_chunked_encoding()
        self._exchange.headers_ns = time.perf_counter_ns()
        await response.prepare(self._request)
        for index in range(len(self._reply.pieces)):
            await self._until(self._headers_due + next(self._due))
            for frame in self._reply.opening() if index == 0 else ():
                await self._send(response, frame)
            for frame in self._reply.frames(index):
                await self._send(response, frame)
        await self._end(response)
        return response

    async def _end(self, response: web.StreamResponse) -> None:
        offset = next(self._due)
        if self._script.finish_alone or self._script.ending in ("cut", "reset", "hang", "error_frame"):
            await self._until(self._headers_due + offset)
        if self._script.ending == "hang":
            await self._flush(response)
            await asyncio.Event().wait()
        if self._script.ending in ("cut", "reset"):
            await self._flush(response)
            self._cut()
            return
        for frame in self._reply.closing():
            await self._send(response, frame)
        await self._flush(response)
        await response.write_eof()

    async def _send(self, response: web.StreamResponse, frame: Frame) -> None:
        self._held.append(frame)
        if len(self._held) >= self._script.frames_per_write:
            await self._flush(response)

    async def _flush(self, response: web.StreamResponse) -> None:
        if not self._held:
            return
        data = b"".join(frame.data for frame in self._held)
        kinds = [frame.kind for frame in self._held]
        self._held.clear()
        size = self._script.bytes_per_write or len(data)
        *parts, last = (data[start : start + size] for start in range(0, len(data), size))
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.001)
        self._note(kinds)
        await response.write(last)

    def _note(self, kinds: list[str]) -> None:
        self._exchange.kinds += kinds
        self._exchange.sent_ns.extend([time.perf_counter_ns()] * len(kinds))

    async def _until(self, due: float) -> None:
        left = due - self._loop.time()
        if left > 0:
            await asyncio.sleep(left)
        elif next(self._writes) % BREATHER == 0:
            await asyncio.sleep(0)

    def _response(self, body: bytes, status: int = 200) -> web.Response:
        self._note(["body"])
        return web.Response(body=body, status=status, content_type="application/json", headers=self._script.headers)

    def _cut(self) -> None:
        """Close the connection so that the body stays incomplete."""
        self.ended = "cut"
        transport = self._request.transport
        if transport is None:
            return
        if self._script.ending == "reset":
            connection: Any = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
