"""Keeps other pages in the user's browser from reading the viewer and from writing to it.

A server on 127.0.0.1 is within reach of every page the user has open: by a request across origins,
or, after rebinding a name of its own to 127.0.0.1, even as the same origin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "otel-tokenstream",
}


@web.middleware
async def refuse_foreign(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not _is_local(hosts[0]):
        raise web.HTTPMisdirectedRequest(text="Ask for 127.0.0.1 or localhost: the viewer answers to no other name.\n")
    origins = request.headers.getall("Origin", [])
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        raise web.HTTPForbidden(text="The viewer answers no other page.\n")
    # Images and scripts of a foreign page come without Origin. Following a link is allowed: it shows
    # the viewer to its user, not to the page the link stands on.
    from_elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    if from_elsewhere and not (request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"):
        raise web.HTTPForbidden(text="The viewer answers no other page.\n")
    return await handler(request)


async def set_headers(_request: web.Request, response: web.StreamResponse) -> None:
    # The report has a policy of its own: one style, no script.
    policy = response.headers.get("Content-Security-Policy", _HEADERS["Content-Security-Policy"])
    response.headers.update({**_HEADERS, "Content-Security-Policy": policy})


def _is_local(host: str) -> bool:
    # Any port: a tunnel may end at another one, and the name alone tells rebinding.
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    return name.lower() in _LOCAL and port.isascii() and port.isdigit()
