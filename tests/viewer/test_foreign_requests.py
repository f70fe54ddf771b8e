from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import signals
from tests.viewer.viewer_client import JSON, PROTOBUF, Answer, ask, streams

if TYPE_CHECKING:
    from otel_tokenstream.viewer.server import Viewer

SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "b7ad6b7169203331",
    "attributes": [{"key": signals.OUTCOME, "value": {"stringValue": "completed"}}],
}
BODY = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}).encode()
READABLE = ["/", "/page/app.js", "/page/plotly.min.js", "/api/streams", "/api/metrics", "/api/updates", "/nothing"]


def read(viewer: Viewer, path: str, **headers: str) -> Answer:
    return ask(viewer, path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def write(viewer: Viewer, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(viewer, "/v1/traces", "POST", BODY, {**JSON, **named})


FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:4318",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example#127.0.0.1",
    "127.0.0.1@evil.example",
    "localhost:evil.example",
    "127.0.0.2",
    "0.0.0.0:4318",
    "",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_no_other_host_is_answered(viewer: Viewer, host: str) -> None:
    """A name rebound to 127.0.0.1 makes its page the same origin; only the Host header tells."""
    for path in READABLE:
        assert read(viewer, path, Host=host).status == 421, path
    assert write(viewer, Host=host).status == 421
    assert streams(viewer) == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "LocalHost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "[::1]"]
)
def test_the_machines_own_names_are_answered(viewer: Viewer, host: str) -> None:
    """With and without a port, for reading and for OTLP."""
    host = host.format(port=viewer.http_port)
    assert read(viewer, "/api/streams", Host=host).status == 200
    assert write(viewer, Host=host).status == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "http://localhost:{port}", "null", ""]
)
def test_a_foreign_origin_neither_reads_nor_writes(viewer: Viewer, origin: str) -> None:
    """Also one on this machine, another port or name of it, and the opaque one of a sandboxed frame."""
    origin = origin.format(port=viewer.http_port)
    for path in (path for path in READABLE if path != "/api/updates"):
        assert read(viewer, path, Origin=origin).status == 403, path
    assert write(viewer, Origin=origin).status == 403
    protobuf = ask(viewer, "/v1/traces", "POST", b"", {**PROTOBUF, "Origin": origin})
    assert protobuf.status == 403
    assert streams(viewer) == []


def test_the_own_origin_is_answered(viewer: Viewer) -> None:
    """The page may send the Origin header with its own requests."""
    assert read(viewer, "/api/streams", Origin=viewer.url).status == 200
    assert write(viewer, Origin=viewer.url).status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_cannot_embed_the_viewers_responses(viewer: Viewer, site: str) -> None:
    """Images and scripts are asked for without Origin; a link from elsewhere may still be followed."""
    assert read(viewer, "/api/streams", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403
    assert read(viewer, "/page/app.js", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors").status == 403
    assert write(viewer, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 403
    assert read(viewer, "/", Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status == 200
    assert read(viewer, "/api/streams", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors").status == 200


def test_no_answer_permits_another_origin(viewer: Viewer) -> None:
    """A preflight is refused and no answer carries a CORS header."""
    preflight = ask(
        viewer,
        "/v1/traces",
        "OPTIONS",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status == 403
    for answer in (preflight, read(viewer, "/api/streams"), write(viewer)):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    "path",
    ["/", "/page/app.js", "/page/plotly.min.js", "/api/streams", "/api/streams?limit=0", "/nothing", "/v1/traces"],
)
def test_every_answer_carries_the_policy(viewer: Viewer, path: str) -> None:
    """Pages, data, errors and refusals alike."""
    for answer in (read(viewer, path), read(viewer, path, Host="evil.example")):
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "connect-src": "'self'",
            "img-src": "'self' data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'self'",
            "frame-src": "'self'",
        }
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on the whole of 127.0.0.0/8")
def test_both_ports_listen_on_127_0_0_1_alone(viewer: Viewer) -> None:
    """A socket on all addresses would take a connection to 127.0.0.2."""
    for port in (viewer.http_port, viewer.grpc_port):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


@pytest.mark.parametrize(
    "path", ["/page/../server.py", "/page/%2e%2e/server.py", "/page/..%2fserver.py", "/page/", "/server.py"]
)
def test_only_the_pages_files_are_served(viewer: Viewer, path: str) -> None:
    """There is no path from the page's folder to any other."""
    assert ask(viewer, path).status == 404
