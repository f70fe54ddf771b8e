"""The page's files, and the chart library out of the installed plotly package."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from functools import partial
from pathlib import Path

from aiohttp import web

_PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def add_routes(app: web.Application) -> None:
    plotly = plotly_path()
    app.router.add_get("/", partial(_file, _PAGE / "index.html"))
    for path in _PAGE.iterdir():
        if path.suffix in _TYPES and path.name != "index.html":
            app.router.add_get(f"/page/{path.name}", partial(_file, path))
    app.router.add_get("/page/plotly.min.js", partial(_file, plotly))
    app.router.add_get("/page/plotly.json", partial(_plotly_facts, plotly))


def plotly_path() -> Path:
    # find_spec and not importlib.resources: the latter imports the package, of which nothing is needed.
    spec = importlib.util.find_spec("plotly")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    message = "plotly with its plotly.min.js is not installed: pip install 'otel-tokenstream[viewer]'"
    raise ModuleNotFoundError(message, name="plotly")


async def _file(path: Path, _request: web.Request) -> web.StreamResponse:
    return web.FileResponse(path, headers={"Content-Type": f"{_TYPES[path.suffix]}; charset=utf-8", **_REVALIDATE})


_REVALIDATE = {"Cache-Control": "no-cache"}  # kept, but asked for again: an upgrade shows at once


async def _plotly_facts(path: Path, _request: web.Request) -> web.Response:
    """Ids of style elements plotly.js would put into the page, which the content security policy forbids."""
    script = await asyncio.to_thread(path.read_text, encoding="utf-8")
    ids = re.findall(r'document\.getElementById\("([0-9a-f]{64})"\)', script)
    return web.json_response({"style_ids": ids}, headers=_REVALIDATE)
