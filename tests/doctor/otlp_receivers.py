"""Receivers as users have them: OTLP over HTTP and gRPC, with and without TLS, some of which refuse."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "127.0.0.1"
PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")


@contextmanager
def over_http(
    *, status: int = 200, paths: tuple[str, ...] = PATHS, skew: float = 0.0, certificate: Path | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield ``host:port`` and the paths of the requests that were taken; any other path is a 404."""
    taken: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = status if self.path in paths else 404
            if answer == 200:
                taken.append(self.path)
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((time.time() if timestamp is None else timestamp) + skew, usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that speaks another protocol is what the test is about."""

    server = Server((HOST, 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{HOST}:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def over_grpc(*, token: str = "", certificate: Path | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield ``host:port`` and the methods that were called; with a token, calls without it are UNAUTHENTICATED."""
    called: list[str] = []

    class Everything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            def export(_: bytes, context: grpc.ServicerContext) -> bytes:
                if token and dict(context.invocation_metadata()).get("authorization") != token:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token")
                called.append(details.method)
                return b""

            return grpc.unary_unary_rpc_method_handler(export)

    server = grpc.server(ThreadPoolExecutor(4), handlers=[Everything()])
    if certificate is None:
        port = server.add_insecure_port(f"{HOST}:0")
    else:
        pem = certificate.read_bytes()
        port = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([(pem, pem)]))
    server.start()
    try:
        yield f"{HOST}:{port}", called
    finally:
        server.stop(0).wait()


def certificate_in(directory: Path) -> Path:
    """Write a key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = directory / "receiver.pem"
    path.write_bytes(
        key.private_bytes(encoding, form, serialization.NoEncryption()) + certificate.public_bytes(encoding)
    )
    return path
