"""The viewer as one running thing: receivers, store, API and page."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from otel_tokenstream.analysis.sources import viewer_database
from otel_tokenstream.viewer import api, assets, receiver_grpc, receiver_http, report, security
from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES
from otel_tokenstream.viewer.retention import Retention
from otel_tokenstream.viewer.store import Store

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import grpc
    from typing_extensions import Self

_HOST = "127.0.0.1"


class Viewer:
    """Runs from ``with`` to its end, in threads of its own. Port 0 takes a free one.

    Entering raises OSError when a port is taken and ValueError for a database that is not the viewer's.
    """

    def __init__(
        self,
        http_port: int = 0,
        grpc_port: int = 0,
        database_path: Path | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.http_port = http_port
        self.grpc_port = grpc_port
        self.database = database_path or viewer_database.default_path()
        self._retention = retention or Retention()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="viewer-http", daemon=True)
        self._store: Store | None = None
        self._runner: web.AppRunner | None = None
        self._updates: api.Updates | None = None
        self._grpc: grpc.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.http_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._store = Store(self.database, self._retention, on_change=self._changed)
            asyncio.run_coroutine_threadsafe(self._start_http(self._store), self._loop).result()
            try:
                self._grpc, self.grpc_port = receiver_grpc.start(self._store, self.grpc_port)
            except OSError as error:
                raise OSError(_taken("gRPC", self.grpc_port, "--grpc-port")) from error
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
        app = web.Application(client_max_size=MAX_REQUEST_BYTES, middlewares=[security.refuse_foreign])
        app.on_response_prepare.append(security.set_headers)
        receiver_http.add_routes(app, store)
        api.add_routes(app, store, self._updates)
        report.add_routes(app, store.path)
        assets.add_routes(app)
        # Bodies are decompressed by the receiver, which knows where to stop.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self.http_port)
        try:
            await site.start()
        except OSError as error:
            raise OSError(_taken("HTTP", self.http_port, "--http-port")) from error
        self.http_port = self._runner.addresses[0][1]

    def _changed(self) -> None:
        """Called on the store's thread."""
        if self._updates is not None:
            self._loop.call_soon_threadsafe(self._updates.notify)

    def _stop(self) -> None:
        if self._grpc is not None:
            self._grpc.stop(grace=2).wait()
        asyncio.run_coroutine_threadsafe(self._stop_http(), self._loop).result()
        if self._store is not None:
            self._store.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop_http(self) -> None:
        if self._updates is not None:
            self._updates.close()
        if self._runner is not None:
            await self._runner.cleanup()


def _taken(protocol: str, port: int, option: str) -> str:
    return f"cannot listen on {_HOST}:{port} for {protocol}: is another viewer or Collector running? Try {option}"
