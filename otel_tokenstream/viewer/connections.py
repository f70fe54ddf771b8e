"""HTTP connections: how many there may be, and how long one may ask for nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

_MOST = 256
_FIRST_REQUEST_SECONDS = 10.0
IDLE_SECONDS = 60.0
_LOOK_SECONDS = 1.0


@dataclass
class _Use:
    requests: int = 0
    """In work now."""
    asked: bool = False
    since: float = field(default_factory=time.monotonic)
    """When it was accepted, or its last request was answered."""

    @property
    def overdue(self) -> bool:
        idle = time.monotonic() - self.since
        return not self.requests and idle > (IDLE_SECONDS if self.asked else _FIRST_REQUEST_SECONDS)


class Connections:
    """Makes the protocols of accepted connections, in place of aiohttp's server, which has no bound for them.

    At the bound a new connection takes the place of the one that has been idle for the longest time.
    """

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._uses: dict[web.RequestHandler, _Use] = {}
        self._looking: asyncio.Task[None] | None = None

    def __call__(self) -> asyncio.Protocol:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        self._forget_closed()
        if len(self._uses) >= _MOST and not self._close_longest_idle():
            return _Refused()
        protocol = self._server()
        self._uses[protocol] = _Use()
        return protocol

    async def watch(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """A middleware, around all others."""
        use = self._uses.setdefault(request.protocol, _Use())
        use.requests += 1
        use.asked = True
        try:
            return await handler(request)
        finally:
            use.requests -= 1
            use.since = time.monotonic()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._forget_closed()
            for protocol in [protocol for protocol, use in self._uses.items() if use.overdue]:
                self._close(protocol)

    def _forget_closed(self) -> None:
        now = time.monotonic()
        # Before asyncio has connected it, a protocol has no transport either.
        closed = [
            each for each, use in self._uses.items() if each.transport is None and now - use.since > _LOOK_SECONDS
        ]
        for protocol in closed:
            if not self._uses[protocol].requests:
                del self._uses[protocol]

    def _close_longest_idle(self) -> bool:
        idle = [protocol for protocol, use in self._uses.items() if not use.requests and protocol.transport is not None]
        if not idle:
            return False
        self._close(min(idle, key=lambda protocol: self._uses[protocol].since))
        return True

    def _close(self, protocol: web.RequestHandler) -> None:
        del self._uses[protocol]
        if protocol.transport is not None:
            protocol.transport.abort()


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
