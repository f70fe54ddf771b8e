"""The report over the viewer's own database: the page at /report, the figures at /api/report."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

import otel_tokenstream
from otel_tokenstream.analysis.page import content_security_policy
from otel_tokenstream.viewer.report_process import NO_MEMORY, NO_SOURCE, NOTHING_FOUND, PROGRESS, WRONG_WORDS

_logger = logging.getLogger(__name__)

_FRESH = {"Cache-Control": "no-store"}
_STATUS = {0: 200, NOTHING_FOUND: 404, WRONG_WORDS: 400, NO_SOURCE: 500, NO_MEMORY: 413}
_AT_ONCE = 2
_LONGEST_SECONDS = 300.0
_LOOK_SECONDS = 0.25
_LONGEST_KEY = 64
_PROGRESS = PROGRESS.encode()


class _Made(NamedTuple):
    """``text`` is the report or, with any status but 200, a sentence."""

    status: int
    text: str


class Reports:
    """Belongs to one event loop. Each report is a process, which ends with its reader or the viewer."""

    def __init__(self, database: Path, objectives: Path | None) -> None:
        self._database = database
        self._objectives = None if objectives is None else str(objectives.absolute())
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.subprocess.Process] = set()
        self._closed = False
        self.progress: dict[str, float | None] = {}
        """Share of the database that was read, by the key of a request; None while it waits for its turn."""

    async def made(self, request: web.Request, *, html: bool) -> _Made:
        words = [(name, value) for name, value in request.query.items() if name != "progress"]
        asked = {
            "database": str(self._database.absolute()),
            "objectives": self._objectives,
            "words": words,
            "html": html,
        }
        key = request.query.get("progress", "")[:_LONGEST_KEY]
        self.progress[key] = None
        try:
            return await self._in_turn(json.dumps(asked).encode(), key, request)
        finally:
            self.progress.pop(key, None)

    async def _in_turn(self, asked: bytes, key: str, request: web.Request) -> _Made:
        async with self._slots:
            if self._closed:
                return _Made(503, "the viewer ends")
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "otel_tokenstream.viewer.report_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=Path(otel_tokenstream.__file__).parents[1],  # -m looks for modules there first
            )
            self._running.add(process)
            try:
                return await self._answer(process, asked, key, request)
            finally:
                self._running.discard(process)
                _kill(process)

    async def _told(self, process: asyncio.subprocess.Process, asked: bytes, key: str) -> tuple[bytes, list[bytes]]:
        """What the process wrote: the report, and lines that are not about its progress."""
        if not (process.stdin and process.stdout and process.stderr):
            raise RuntimeError
        with suppress(ConnectionError):  # it ended before it read; its exit code says so
            process.stdin.write(asked)
            await process.stdin.drain()
            process.stdin.close()
        errors = asyncio.ensure_future(self._errors(process.stderr, key))
        out = await process.stdout.read()
        await process.wait()
        return out, await errors

    async def _errors(self, stream: asyncio.StreamReader, key: str) -> list[bytes]:
        errors = []
        async for line in stream:
            if line.startswith(_PROGRESS):
                self.progress[key] = float(line.removeprefix(_PROGRESS))
            else:
                errors.append(line)
        return errors

    def close(self) -> None:
        self._closed = True
        for process in self._running:
            _kill(process)

    async def _answer(self, process: asyncio.subprocess.Process, asked: bytes, key: str, request: web.Request) -> _Made:
        told = asyncio.ensure_future(self._told(process, asked, key))
        loop = asyncio.get_running_loop()
        end = loop.time() + _LONGEST_SECONDS
        while not told.done():
            await asyncio.wait([told], timeout=_LOOK_SECONDS)
            gone = request.transport is None or request.transport.is_closing()
            if not told.done() and (gone or loop.time() > end):
                _kill(process)
                await told
                return _Made(
                    503, f"the report took more than {_LONGEST_SECONDS:g} s; narrow it down with since or where"
                )
        out, errors = told.result()
        status = _STATUS.get(process.returncode or 0)
        if status is None:
            if not self._closed:
                _logger.error("the report failed: %s", b"".join(errors).decode(errors="replace"))
            return _Made(500, "the report failed; the viewer's log has the error")
        return _Made(status, out.decode())


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()


def add_routes(app: web.Application, reports: Reports) -> None:
    """Both take by, where (repeated), over, since, and compare (twice), as the command does; and from, to.

    With ``progress``, any text, ``/api/report_progress?id=`` tells meanwhile how far it is.
    """
    app.router.add_get("/report", partial(_page, reports))
    app.router.add_get("/api/report", partial(_figures, reports))
    app.router.add_get("/api/report_progress", partial(_progress, reports))


async def _page(reports: Reports, request: web.Request) -> web.Response:
    made = await reports.made(request, html=True)
    if made.status != 200:
        return web.Response(status=made.status, text=f"{made.text}\n", headers=_FRESH)
    headers = {**_FRESH, "Content-Security-Policy": f"{content_security_policy()}; frame-ancestors 'self'"}
    return web.Response(text=made.text, content_type="text/html", charset="utf-8", headers=headers)


async def _figures(reports: Reports, request: web.Request) -> web.Response:
    made = await reports.made(request, html=False)
    text = made.text if made.status == 200 else json.dumps({"error": made.text}, separators=(",", ":"))
    return web.json_response(text=text, status=made.status, headers=_FRESH)


async def _progress(reports: Reports, request: web.Request) -> web.Response:
    share = reports.progress.get(request.query.get("id", ""))
    text = "waits, or counts what was read" if share is None or share == 1 else f"{share:.0%} of the streams read"
    return web.json_response({"share": share, "text": text}, headers=_FRESH)
