"""The JSON API and its stream of updates."""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from otel_tokenstream.viewer import detail, streams

if TYPE_CHECKING:
    from otel_tokenstream.viewer.store import Store

_DEFAULT_LIMIT = 200
_MAX_LIMIT = 1000
_UPDATE_SECONDS = 0.3
_KEEPALIVE_SECONDS = 15.0


class Updates:
    """Wakes who waits for a change of the database. Belongs to one event loop."""

    def __init__(self) -> None:
        self.revision = 0
        self.closed = False
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self.revision += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        self.closed = True
        self.notify()

    async def after(self, revision: int) -> int:
        while self.revision == revision:
            await self._changed.wait()
        return self.revision


def add_routes(app: web.Application, store: Store, updates: Updates) -> None:
    ids = "{trace_id:[0-9a-f]{32}}/{span_id:[0-9a-f]{16}}"
    app.router.add_get("/api/streams", partial(_streams, store))
    app.router.add_get(f"/api/streams/{ids}", partial(_stream, store))
    app.router.add_get("/api/metrics", partial(_metrics, store))
    app.router.add_get("/api/updates", partial(_updates, updates))


async def _streams(store: Store, request: web.Request) -> web.Response:
    limit = request.query.get("limit", str(_DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MAX_LIMIT):
        return _json({"error": f"limit is {limit}; give a number from 1 to {_MAX_LIMIT}"}, status=400)
    filters = {name: request.query[name] for name in ("service", "model", "outcome") if request.query.get(name)}

    def read() -> Any:
        with store.reading() as connection:
            found = streams.newest(connection, filters, int(limit), time.time_ns())
            return {"streams": found, "choices": streams.choices(connection)}

    return _json(await asyncio.to_thread(read))


async def _stream(store: Store, request: web.Request) -> web.Response:
    def read() -> Any:
        with store.reading() as connection:
            match = request.match_info
            return detail.detail(connection, match["trace_id"], match["span_id"], time.time_ns())

    found = await asyncio.to_thread(read)
    if found is None:
        return _json({"error": "no such stream; it may be older than the retention"}, status=404)
    return _json(found)


async def _metrics(store: Store, _request: web.Request) -> web.Response:
    def read() -> Any:
        with store.reading() as connection:
            return streams.metrics(connection, time.time_ns())

    return _json(await asyncio.to_thread(read))


async def _updates(updates: Updates, request: web.Request) -> web.StreamResponse:
    """Server-sent events: the revision of the database, at once and after every change."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    revision = -1
    try:
        while not updates.closed:
            try:
                revision = await asyncio.wait_for(updates.after(revision), _KEEPALIVE_SECONDS)
                await response.write(b'data: {"revision": %d}\n\n' % revision)
            except asyncio.TimeoutError:
                await response.write(b": still here\n\n")
            await asyncio.sleep(_UPDATE_SECONDS)  # a burst of requests is one update
    except ConnectionError:  # the page was closed
        pass
    return response


def _json(value: Any, status: int = 200) -> web.Response:
    text = json.dumps(value, separators=(",", ":"))
    return web.json_response(text=text, status=status, headers={"Cache-Control": "no-store"})
