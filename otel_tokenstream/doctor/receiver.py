"""Asks what listens at an exporter's address, in seconds where the exporter itself would try for a minute.

Nothing but the standard library: what is to be found out is what a socket says. Addresses in what is returned have no
user and no password.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from otel_tokenstream.doctor.secrets import address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATIENCE = 3.0  # seconds for a connection and for each answer
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_SETTINGS = 4
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Receiver:
    """Where the exporter of a signal sends: ``url`` has the path only for OTLP/HTTP."""

    signal: str
    url: str
    is_grpc: bool
    headers: Mapping[str, str]
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (4317 if self.is_grpc else _PORTS.get(parts.scheme, 80))

    @property
    def shown(self) -> str:
        return address(f"{urlsplit(self.url).scheme}://{self.host}:{self.port}")


def ask(receiver: Receiver) -> dict[str, Any]:
    """Return ``wrong`` (a word of ``exporting.WORDS``, empty where it answers well), ``seen``, ``status``, ``skew``.

    ``skew`` is the receiver's clock minus this one's in s, None where the answer has no date.
    """
    told: dict[str, Any] = {"wrong": "", "seen": receiver.shown, "status": None, "skew": None}
    try:
        if not receiver.host or urlsplit(receiver.url).scheme not in _PORTS:
            return {**told, "wrong": "address", "seen": address(receiver.url)}
        through_proxy = not receiver.is_grpc and _proxy(receiver)
        if not through_proxy:
            with _connected(receiver):
                pass
        return {**told, **(_grpc(receiver) if receiver.is_grpc else _http(receiver))}
    except ValueError as error:  # a port that is no number
        return {**told, "wrong": "address", "seen": f"{address(receiver.url)} ({error})"}
    except socket.gaierror:
        return {**told, "wrong": "name"}
    except ConnectionRefusedError:
        return {**told, "wrong": "refused"}
    except TimeoutError:
        return {**told, "wrong": "silent"}
    except OSError as error:
        return {**told, "wrong": "unreachable", "seen": f"{receiver.shown} ({error.strerror or error})"}


def _proxy(receiver: Receiver) -> bool:
    scheme = urlsplit(receiver.url).scheme
    return scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(receiver.host)


@contextlib.contextmanager
def _connected(receiver: Receiver) -> Iterator[socket.socket]:
    with socket.create_connection((receiver.host, receiver.port), timeout=_PATIENCE) as connection:
        yield connection


# --- OTLP/gRPC ------------------------------------------------------------------------------------


def _grpc(receiver: Receiver) -> dict[str, Any]:
    try:
        if speaks_http2(receiver, tls=receiver.tls):
            return {}
    except ssl.SSLError as error:
        if _is_untrusted(error):
            return {"wrong": "untrusted", "seen": f"{receiver.shown} ({error.reason or error})"}
    if receiver.tls:
        return {"wrong": "plain"} if not _offers_tls(receiver) else {"wrong": "no grpc"}
    if speaks_http1(receiver):
        return {"wrong": "grpc to http"}
    return {"wrong": "tls"} if _offers_tls(receiver) else {"wrong": "no grpc"}


def speaks_http2(receiver: Receiver, *, tls: bool) -> bool:
    """Return whether it answers HTTP/2's preface with a SETTINGS frame, as every gRPC server does."""
    with (
        _connected(receiver) as connection,
        _secured(receiver, connection, tls=tls) as stream,
        contextlib.suppress(ConnectionError, TimeoutError),
    ):
        stream.sendall(_HTTP2)
        head = stream.recv(9)
        return len(head) >= 4 and head[3] == _SETTINGS and head[0] == 0
    return False


@contextlib.contextmanager
def _secured(receiver: Receiver, connection: socket.socket, *, tls: bool) -> Iterator[socket.socket]:
    if not tls:
        yield connection
        return
    context = _context(receiver)
    context.set_alpn_protocols(["h2"])
    with context.wrap_socket(connection, server_hostname=receiver.host) as stream:
        yield stream


def speaks_http1(receiver: Receiver) -> bool:
    with _connected(receiver) as connection, contextlib.suppress(ConnectionError, TimeoutError):
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {receiver.host}\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(7).startswith(b"HTTP/1.")
    return False


def _offers_tls(receiver: Receiver) -> bool:
    """Return whether it shakes hands, whoever it is: nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLError, OSError), _connected(receiver) as connection:
        context.wrap_socket(connection, server_hostname=receiver.host).close()
        return True
    return False


# --- OTLP/HTTP ------------------------------------------------------------------------------------


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _http(receiver: Receiver) -> dict[str, Any]:
    """Send a request without any span in it, with the headers that the exporter sends."""
    request = urllib.request.Request(  # noqa: S310  # its scheme was looked at
        receiver.url,
        data=b"",
        method="POST",
        headers={"Content-Type": "application/x-protobuf", **receiver.headers},
    )
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_context(receiver)), _NoRedirect())
    try:
        with opener.open(request, timeout=_PATIENCE) as response:
            return {"status": response.status, "skew": _skew(response.headers.get("Date"))}
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.BAD_REQUEST and not receiver.tls and _offers_tls(receiver):
                return {"wrong": "tls"}
            if error.code == http.HTTPStatus.BAD_REQUEST:  # it wants a span in its request; the test span has one
                return {"status": error.code, "skew": _skew(error.headers.get("Date"))}
            return {"wrong": "status", "status": error.code, "skew": _skew(error.headers.get("Date"))}
    except urllib.error.URLError as error:
        return _failed(receiver, error.reason)
    except (http.client.HTTPException, ConnectionError) as error:
        return _failed(receiver, error)


def _failed(receiver: Receiver, reason: object) -> dict[str, Any]:
    if isinstance(reason, ssl.SSLError):
        if _is_untrusted(reason):
            return {"wrong": "untrusted", "seen": f"{receiver.shown} ({reason.reason or reason})"}
        return {"wrong": "plain"}
    if isinstance(reason, http.client.HTTPException | ConnectionError) and not receiver.tls:
        if speaks_http2(receiver, tls=False):
            return {"wrong": "http to grpc"}
        if _offers_tls(receiver):
            return {"wrong": "tls"}
    if isinstance(reason, OSError):
        raise reason
    return {"wrong": "no http", "seen": f"{receiver.shown} ({reason})"}


def _is_untrusted(error: ssl.SSLError) -> bool:
    return isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE" in (error.reason or "")


def _context(receiver: Receiver) -> ssl.SSLContext:
    """Trust whom the exporter trusts: the named certificate, else the bundle of requests, else the system's."""
    bundle = receiver.certificate or None
    if bundle is None:
        with contextlib.suppress(ImportError):
            import certifi  # noqa: PLC0415  # of the exporter's requests

            bundle = certifi.where()
    context = ssl.create_default_context(cafile=bundle)
    if receiver.client_certificate:
        context.load_cert_chain(receiver.client_certificate, receiver.client_key or None)
    return context


def _skew(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except (TypeError, ValueError):
        return None
