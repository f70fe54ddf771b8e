"""The viewer as one running thing: receivers, store, API and page."""

from __future__ import annotations

import asyncio
import errno
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from otel_tokenstream.analysis.objectives import DEFAULTS, load
from otel_tokenstream.analysis.sources import viewer_database
from otel_tokenstream.viewer import api, assets, receiver_grpc, receiver_http, report, security
from otel_tokenstream.viewer.connections import IDLE_SECONDS, Connections
from otel_tokenstream.viewer.intake import Intake
from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES
from otel_tokenstream.viewer.reach import Reach
from otel_tokenstream.viewer.retention import Retention
from otel_tokenstream.viewer.store import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from types import TracebackType

    import grpc
    from typing_extensions import Self

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LAST_PORT = 65_535
_GRACE_SECONDS = 1.0


class Viewer:
    """Runs from ``with`` to its end, in threads of its own. Port 0 takes a free one.

    Raises ValueError for a port that cannot be or a wrong file of objectives; entering raises OSError when a port is
    taken and ValueError for a database that is not the viewer's.
    """

    def __init__(
        self,
        http_port: int = 0,
        grpc_port: int = 0,
        database_path: Path | None = None,
        retention: Retention | None = None,
        objectives: Path | None = None,
        reach: Reach | None = None,
    ) -> None:
        for option, port in (("--http-port", http_port), ("--grpc-port", grpc_port)):
            if not 0 <= port <= _LAST_PORT:
                message = f"{option} is {port}; give a number from 0 to {_LAST_PORT}, where 0 takes a free port"
                raise ValueError(message)
        self.http_port = http_port
        self.grpc_port = grpc_port
        self.reach = reach or Reach()
        self.database = database_path or viewer_database.default_path()
        self._retention = retention or Retention()
        self._objectives_file = objectives
        self._objectives = load(objectives) if objectives else DEFAULTS
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="viewer-http", daemon=True)
        self._store: Store | None = None
        self._runner: web.AppRunner | None = None
        self._updates: api.Updates | None = None
        self._reports: report.Reports | None = None
        self._intake: Intake | None = None
        self._http: asyncio.Server | None = None
        self._connections: Connections | None = None
        self._grpc: grpc.aio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{self.reach.address(self.http_port)}"

    @property
    def entrance(self) -> str:
        """The address to open, with the token where one is required."""
        return f"{self.url}/?token={self.reach.token}" if self.reach.token else self.url

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._store = Store(self.database, self._retention, on_change=self._changed)
            asyncio.run_coroutine_threadsafe(self._start_http(self._store), self._loop).result()
            asyncio.run_coroutine_threadsafe(self._start_grpc(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.run_in_executor, None, self._store.warm)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    async def _start_http(self, store: Store) -> None:
        self._updates = api.Updates()
        self._reports = report.Reports(store.path, self._objectives_file)
        self._intake = Intake(store)
        app = web.Application(
            client_max_size=MAX_REQUEST_BYTES, middlewares=[self._watch, security.checked_by(self.reach)]
        )
        app.on_response_prepare.append(security.set_headers)
        receiver_http.add_routes(app, self._intake)
        api.add_routes(app, store, self._updates, self._objectives)
        report.add_routes(app, self._reports)
        assets.add_routes(app)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=_GRACE_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
            auto_decompress=False,  # the intake knows where to stop
        )
        await self._runner.setup()
        if self._runner.server is None:  # it is made by setup()
            raise RuntimeError
        self._connections = Connections(self._runner.server)
        try:
            self._http = await self._loop.create_server(self._connections, self.reach.host, self.http_port, backlog=128)
        except OSError as error:
            raise OSError(_taken("HTTP", self.reach.address(self.http_port), "--http-port", error)) from error
        self.http_port = self._http.sockets[0].getsockname()[1]

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._connections is None:
            return await handler(request)
        return await self._connections.watch(request, handler)

    async def _start_grpc(self) -> None:
        if self._intake is None:
            raise RuntimeError
        try:
            self._grpc, self.grpc_port = await receiver_grpc.start(self._intake, self.grpc_port, self.reach)
        except OSError as error:
            raise OSError(_taken("gRPC", self.reach.address(self.grpc_port), "--grpc-port", error)) from error

    def _changed(self) -> None:
        """Called on the store's thread."""
        if self._updates is not None:
            self._loop.call_soon_threadsafe(self._updates.notify)

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop_receiving(), self._loop).result()
        if self._store is not None:
            self._store.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop_receiving(self) -> None:
        """Both receivers at once, so that the whole takes no longer than the grace of one."""
        if self._reports is not None:
            self._reports.close()
        if self._updates is not None:
            self._updates.close()
        await asyncio.gather(self._stop_grpc(), self._stop_http())
        if self._intake is not None:
            self._intake.close()

    async def _stop_grpc(self) -> None:
        if self._grpc is not None:
            await self._grpc.stop(_GRACE_SECONDS)

    async def _stop_http(self) -> None:
        if self._http is not None:
            self._http.close()
        if self._connections is not None:
            await self._connections.close()
        if self._runner is not None:
            await self._runner.cleanup()


def _taken(protocol: str, address: str, option: str, error: OSError) -> str:
    if error.errno in {errno.EADDRNOTAVAIL, None} and not isinstance(error, PermissionError):
        return (
            f"cannot listen on {address} for {protocol}: {error.strerror or error}; is it an address of this machine?"
        )
    return f"cannot listen on {address} for {protocol}: is another viewer or Collector running? Try {option}"
