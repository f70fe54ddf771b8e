"""The report over the viewer's own database: the page at /report, the figures at /api/report."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from otel_tokenstream.analysis.over_time import AUTO
from otel_tokenstream.analysis.page import as_html, content_security_policy
from otel_tokenstream.analysis.report import NothingFoundError, Question, Report, answer
from otel_tokenstream.analysis.selection import Condition
from otel_tokenstream.analysis.units import seconds

if TYPE_CHECKING:
    from pathlib import Path

_FRESH = {"Cache-Control": "no-store"}
_SIDES = 2


def add_routes(app: web.Application, database: Path) -> None:
    """Both take by, where (repeated), over, since, and compare (twice), as the command does."""
    app.router.add_get("/report", partial(_page, database))
    app.router.add_get("/api/report", partial(_figures, database))


async def _page(database: Path, request: web.Request) -> web.Response:
    try:
        report = await asyncio.to_thread(_answer, database, request)
    except NothingFoundError:
        raise web.HTTPNotFound(text="There is no such stream yet.\n") from None
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error
    headers = {**_FRESH, "Content-Security-Policy": f"{content_security_policy()}; frame-ancestors 'none'"}
    return web.Response(text=as_html(report), content_type="text/html", charset="utf-8", headers=headers)


async def _figures(database: Path, request: web.Request) -> web.Response:
    try:
        report = await asyncio.to_thread(_answer, database, request)
    except NothingFoundError:
        return _json({"error": "no such stream yet"}, 404)
    except ValueError as error:
        return _json({"error": str(error)}, 400)
    return _json(report.as_json())


def _answer(database: Path, request: web.Request) -> Report:
    words = request.query
    by = [word for word in words.get("by", "operation,model").split(",") if word]
    # Conditions alone: a page must not be able to name the files of this machine.
    sides = [Condition.parse(text) for text in words.getall("compare", [])]
    if len(sides) not in {0, _SIDES}:
        message = "compare takes two conditions: ?compare=model=a&compare=model=b"
        raise ValueError(message)
    question = Question(
        files=(database,),
        since_s=seconds(words["since"]) if "since" in words else None,
        by=tuple(by),
        where=tuple(Condition.parse(text) for text in words.getall("where", [])),
        over=words.get("over", AUTO),
        compare=(sides[0], sides[1]) if sides else None,
    )
    return answer(question)


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(text=json.dumps(value, separators=(",", ":")), status=status, headers=_FRESH)
