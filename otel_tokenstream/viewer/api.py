"""The JSON API and its stream of updates."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from otel_tokenstream.viewer import detail, grouping, listing, recorded, streams, trends
from otel_tokenstream.viewer.listing import NEWEST_FIRST, Order
from otel_tokenstream.viewer.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from otel_tokenstream.analysis.objectives import Objectives
    from otel_tokenstream.viewer.index import Index
    from otel_tokenstream.viewer.store import Store

_logger = logging.getLogger(__name__)

_DEFAULT_LIMIT = 200
_MAX_LIMIT = 1000
_MAX_OFFSET = 10**9
_UPDATE_SECONDS = 0.3
_KEEPALIVE_SECONDS = 15.0
_FOLLOWERS = 64


class Updates:
    """Wakes who waits for a change of the database. Belongs to one event loop."""

    def __init__(self) -> None:
        self.revision = 0
        self.closed = False
        self.followers = 0
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


def add_routes(app: web.Application, store: Store, updates: Updates, objectives: Objectives) -> None:
    ids = "{trace_id:[0-9a-f]{32}}/{span_id:[0-9a-f]{16}}"
    app.router.add_get("/api/streams", partial(_streams, store, objectives))
    app.router.add_get("/api/over_time", partial(_over_time, store, objectives))
    app.router.add_get("/api/groups", partial(_groups, store, objectives))
    app.router.add_get(f"/api/streams/{ids}", partial(_stream, store, objectives))
    app.router.add_get(f"/api/streams/{ids}/neighbours", partial(_neighbours, store, objectives))
    app.router.add_get(f"/api/streams/{ids}/recording", partial(_recording, store))
    app.router.add_get(f"/api/spans/{ids}", partial(_span, store))
    app.router.add_get("/api/metrics", partial(_metrics, store))
    app.router.add_get("/api/updates", partial(_updates, updates))


def _asked(
    read: Callable[[web.Request, Objectives], Callable[[sqlite3.Connection, Index, int], Any]],
) -> Callable[[Store, Objectives, web.Request], Awaitable[web.Response]]:
    """A handler whose words are read first, so that what is wrong with them is told as such."""

    async def handle(store: Store, objectives: Objectives, request: web.Request) -> web.Response:
        try:
            answer = read(request, objectives)
        except ValueError as error:
            return _json({"error": str(error)}, status=400)

        def found() -> Any:
            with store.listing() as (connection, index):
                return answer(connection, index, time.time_ns())

        return await _answered(store, found)

    return handle


@_asked
def _streams(request: web.Request, objectives: Objectives) -> Any:
    selection = Selection.parse(request.query)
    order = Order.parse(request.query.get("sort", NEWEST_FIRST))
    offset = _whole(request, "offset", 0, 0, _MAX_OFFSET)
    limit = _whole(request, "limit", _DEFAULT_LIMIT, 1, _MAX_LIMIT)

    def answer(connection: sqlite3.Connection, index: Index, now_ns: int) -> Any:
        found = listing.page(index, connection, selection, order, offset, limit, now_ns)
        for stream in found["streams"]:
            _judge(stream, objectives)
        return found

    return answer


@_asked
def _over_time(request: web.Request, _objectives: Objectives) -> Any:
    selection = Selection.parse(request.query)
    return lambda connection, index, now_ns: trends.over_time(index, selection.mask(index, connection, now_ns))


@_asked
def _groups(request: web.Request, _objectives: Objectives) -> Any:
    selection = Selection.parse(request.query)
    by = grouping.kind(request.query.get("by", ""))
    offset = _whole(request, "offset", 0, 0, _MAX_OFFSET)
    limit = _whole(request, "limit", _DEFAULT_LIMIT, 1, _MAX_LIMIT)

    def answer(connection: sqlite3.Connection, index: Index, now_ns: int) -> Any:
        mask = selection.mask(index, connection, now_ns)
        groups, count = grouping.grouped(index, connection, mask, by, offset, limit)
        summary = {**listing.summary(index, mask, now_ns), "groups": count}
        return {"groups": groups, "offset": offset, "total": len(index), "summary": summary}

    return answer


@_asked
def _neighbours(request: web.Request, _objectives: Objectives) -> Any:
    selection = Selection.parse(request.query)
    order = Order.parse(request.query.get("sort", NEWEST_FIRST))
    ids = request.match_info["trace_id"], request.match_info["span_id"]

    def answer(connection: sqlite3.Connection, index: Index, now_ns: int) -> Any:
        at = index.find(*ids)
        return None if at is None else listing.neighbours(index, connection, selection, order, at, now_ns)

    return answer


def _whole(request: web.Request, name: str, otherwise: int, least: int, most: int) -> int:
    """Raises ValueError."""
    text = request.query.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and least <= int(text[:12]) <= most):
        message = f"{name} is {text}; give a number from {least} to {most}"
        raise ValueError(message)
    return int(text)


async def _stream(store: Store, objectives: Objectives, request: web.Request) -> web.Response:
    ids = request.match_info["trace_id"], request.match_info["span_id"]

    def read(connection: sqlite3.Connection) -> Any:
        found = detail.detail(connection, *ids, time.time_ns())
        if found is not None:
            _judge(found["stream"], objectives)
        return found

    return await _read(store, read)


def _judge(stream: dict[str, Any], objectives: Objectives) -> None:
    """Add the objective of its service and model for the first token, and whether it came too late."""
    objective = objectives.of(stream["service"], stream["model"])
    stream["first_token_objective_ms"] = 1000 * objective.first_token.seconds
    stream["first_token_late"] = objective.first_token_late(stream["time_to_first_token_ms"], stream["outcome"])


async def _recording(store: Store, request: web.Request) -> web.Response:
    """A file to keep: OTLP in JSON."""
    ids = request.match_info["trace_id"], request.match_info["span_id"]
    answer = await _read(store, lambda connection: recorded.recording(connection, *ids))
    if answer.status == 200:
        answer.headers["Content-Disposition"] = f'attachment; filename="stream-{ids[1]}.json"'
    return answer


async def _span(store: Store, request: web.Request) -> web.Response:
    """Any span of a trace, with its attributes and events."""
    ids = request.match_info["trace_id"], request.match_info["span_id"]
    return await _read(store, lambda connection: detail.span(connection, *ids))


async def _metrics(store: Store, _request: web.Request) -> web.Response:
    return await _read(store, lambda connection: streams.metrics(connection, time.time_ns()))


async def _read(store: Store, read: Callable[[sqlite3.Connection], Any]) -> web.Response:
    def found() -> Any:
        with store.reading() as connection:
            return read(connection)

    return await _answered(store, found)


async def _answered(store: Store, found: Callable[[], Any]) -> web.Response:
    def text() -> str | None:
        value = found()
        return None if value is None else _text(value)

    try:
        answer = await asyncio.to_thread(text)
    except sqlite3.Error as error:
        message = f"the database {store.path} cannot be read: {error}"
        return _json({"error": message}, status=500)
    except Exception:
        _logger.exception("the database %s cannot be read", store.path)
        return _json({"error": "this cannot be read from the database; the viewer's log has the error"}, status=500)
    if answer is None:
        return _json({"error": "no such stream; it may be older than the retention"}, status=404)
    return web.json_response(text=answer, headers=_FRESH)


async def _updates(updates: Updates, request: web.Request) -> web.StreamResponse:
    """Server-sent events: the revision of the database, at once and after every change."""
    if updates.followers >= _FOLLOWERS:
        return _json({"error": f"{_FOLLOWERS} pages follow already"}, status=503)
    updates.followers += 1
    try:
        return await _follow(updates, request)
    finally:
        updates.followers -= 1


async def _follow(updates: Updates, request: web.Request) -> web.StreamResponse:
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


_FRESH = {"Cache-Control": "no-store"}


def _json(value: Any, status: int = 200) -> web.Response:
    return web.json_response(text=_text(value), status=status, headers=_FRESH)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
