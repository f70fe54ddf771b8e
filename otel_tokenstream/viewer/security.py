"""Keeps other pages in the user's browser from reading the viewer and from writing to it.

A server on 127.0.0.1 is within reach of every page the user has open: by a request across origins,
or, after rebinding a name of its own to 127.0.0.1, even as the same origin. Where the viewer is reached by other
names, a token is required, which such a page does not have: its cookie is sent by the viewer's own pages alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    from otel_tokenstream.viewer.reach import Reach

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "otel-tokenstream",
}


_COOKIE = "otel_tokenstream_token"
_SHOW = "token"


def checked_by(reach: Reach) -> Middleware:
    """The middleware that refuses what must not be answered."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if reach.token:
            if request.method == "GET" and _SHOW in request.query:
                return _let_in(request, reach)
            cookie = request.cookies.get(_COOKIE, "")
            if not reach.lets_in(request.headers.get("Authorization", ""), cookie):
                raise web.HTTPUnauthorized(text=_REFUSED, headers={"WWW-Authenticate": "Bearer"})
        else:
            _refuse_other_names(request)
        _refuse_other_pages(request)
        return await handler(request)

    return check


_REFUSED = (
    "The viewer needs its token: open the address that it printed when it started, or send the header\n"
    "Authorization: Bearer TOKEN.\n"
)


def _let_in(request: web.Request, reach: Reach) -> web.StreamResponse:
    """The token in the address becomes a cookie, and leaves the address, which others may see."""
    if not reach.lets_in(f"Bearer {request.query[_SHOW]}"):
        raise web.HTTPUnauthorized(text=_REFUSED, headers={"WWW-Authenticate": "Bearer"})
    response = web.Response(status=303, headers={"Location": "./", "Cache-Control": "no-store"})
    # Without a path, the browser keeps it for the path that it knows, wherever a proxy has put the viewer.
    response.headers["Set-Cookie"] = f"{_COOKIE}={reach.token}; HttpOnly; SameSite=Strict"
    return response


def _refuse_other_names(request: web.Request) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not _is_local(hosts[0]):
        raise web.HTTPMisdirectedRequest(text="Ask for 127.0.0.1 or localhost: the viewer answers to no other name.\n")
    origins = request.headers.getall("Origin", [])
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
        raise web.HTTPForbidden(text="The viewer answers no other page.\n")


def _refuse_other_pages(request: web.Request) -> None:
    # Images and scripts of a foreign page come without Origin. Following a link is allowed: it shows
    # the viewer to its user, not to the page the link stands on.
    from_elsewhere = request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    if from_elsewhere and not (request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"):
        raise web.HTTPForbidden(text="The viewer answers no other page.\n")


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
