"""From other machines, in containers and behind a reverse proxy: only with the token, and then everything works."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.viewer import running
from otel_tokenstream.viewer.reach import Reach
from tests.viewer.scenes import Application, Stream, paced
from tests.viewer.viewer_client import ask, streams

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser

PATHS = ["/", "/page/app.js", "/api/streams", "/report", "/api/updates", "/nothing"]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Viewer]:
    with running(database=tmp_path / "viewer.db", host="0.0.0.0") as viewer:
        yield viewer


def authorized(viewer: Viewer) -> dict[str, str]:
    return {"Authorization": f"Bearer {viewer.reach.token}"}


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_nothing_is_answered(guarded: Viewer, path: str) -> None:
    """Pages, data and errors alike, and with a wrong one as without."""
    wrong = guarded.reach.token[:-1] + ("A" if guarded.reach.token[-1] != "A" else "B")
    for headers in ({}, {"Authorization": f"Bearer {wrong}"}, {"Cookie": f"otel_tokenstream_token={wrong}"}):
        assert ask(guarded, path, headers=headers).status == 401
    assert ask(guarded, f"{path}?token={wrong}").status == 401
    assert ask(guarded, "/v1/traces", "POST", b"", {"Content-Type": "application/x-protobuf"}).status == 401


def test_with_the_token_any_name_is_answered_and_other_pages_are_not(guarded: Viewer) -> None:
    """By header or by the cookie that the address with the token leaves, before it leads to one without."""
    headers = authorized(guarded)
    assert ask(guarded, "/api/streams", headers={**headers, "Host": "tools.example"}).status == 200
    entered = ask(guarded, f"/?token={guarded.reach.token}")
    assert (entered.status, entered.headers["Location"], entered.headers["Cache-Control"]) == (303, "./", "no-store")
    cookie, *attributes = entered.headers["Set-Cookie"].split("; ")
    assert attributes == ["HttpOnly", "SameSite=Strict"]
    assert ask(guarded, "/api/streams", headers={"Cookie": cookie}).status == 200
    foreign = {**headers, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    assert ask(guarded, "/api/streams", headers=foreign).status == 403


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_applications_send_with_the_token(guarded: Viewer, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the exporters' own environment variable; without it nothing is stored."""
    app = Application(guarded, "refused", protocol)
    app.stream(Stream(paced(3)))
    app.close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{guarded.reach.token}")
    app = Application(guarded, "shop", protocol)
    app.stream(Stream(paced(3)))
    app.close()
    answer = ask(guarded, "/api/streams", headers=authorized(guarded)).json()
    assert [stream["service"] for stream in answer["streams"]] == ["shop"]


def test_only_beyond_this_machine_or_when_asked_a_token_is_required(viewer: Viewer) -> None:
    """Each viewer makes its own."""
    assert streams(viewer) == []
    assert viewer.entrance == viewer.url
    for host in ("127.0.0.1", "localhost", "::1", "127.3.2.1"):
        assert Reach.of(host).token == ""
    tokens = {
        Reach.of(host, token=token).token for host, token in (("0.0.0.0", False), ("::", False), ("localhost", True))
    }
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32
    assert Reach.of("::").address(1) == "[::1]:1"


@pytest.mark.parametrize(
    ("host", "said"),
    [("", "--host is ''"), ("http://x", "give an address"), ("203.0.113.7", "an address of this machine")],
)
def test_an_address_that_cannot_be_is_refused_in_one_line(
    host: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--host", host, "--http-port", "0", "--grpc-port", "0", "--database", str(tmp_path / "viewer.db")]
    assert main(["view", *options]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_the_command_prints_the_token_once(tmp_path: Path) -> None:
    """In the address to open, and in what applications need; nothing else holds it."""
    options = ["--host", "0.0.0.0", "--http-port", "0", "--grpc-port", "0"]
    command = [
        sys.executable,
        "-m",
        "otel_tokenstream.cli",
        "view",
        *options,
        "--database",
        str(tmp_path / "viewer.db"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)", process.stdout.readline())
        assert found
        assert f"authorization=Bearer%20{found[2]}" in process.stdout.readline()
        request = urllib.request.Request(found[1], headers={"Authorization": f"Bearer {found[2]}"})
        with urllib.request.urlopen(request, timeout=20) as page:
            assert b"otel-tokenstream" in page.read()
        process.terminate()
        assert process.communicate(timeout=20) == ("", "")


class Proxy(BaseHTTPRequestHandler):
    """Puts a viewer below /tools/streams/ and takes the path away, as reverse proxies do."""

    port = 0
    below = "/tools/streams"

    def do_GET(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", self.path.removeprefix(self.below) or "/", headers=dict(self.headers))
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.end_headers()
        while part := answer.read1(65536):
            self.wfile.write(part)
            self.wfile.flush()
        connection.close()

    def log_message(self, *_: Any) -> None:
        pass


def test_the_page_works_below_a_path_of_a_reverse_proxy(tmp_path: Path, browser: Browser) -> None:
    """Entered with the token under the proxy's name: list, stream, report and live updates."""
    with running(database=tmp_path / "viewer.db", token=True) as viewer:
        Proxy.port = viewer.http_port
        with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            at = f"http://localhost:{proxy.server_port}/tools/streams/"
            browser.driver.get(f"{at}?token={viewer.reach.token}")
            browser.until(lambda: browser.all(".instructions"), "no page")
            assert browser.driver.current_url == at
            assert at.removesuffix("/") in browser.texts(".instructions pre")[0]
            send(viewer)
            browser.until(lambda: browser.all("table.streams tbody a"), "the stream did not come by itself")
            browser.click("table.streams tbody a")
            browser.until_drawn()
            browser.click("header a[href='#/report']")
            browser.until(lambda: browser.all("iframe.report:not([hidden])"), "no report")
            browser.leave()
            proxy.shutdown()


def send(viewer: Viewer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer%20{viewer.reach.token}")
        app = Application(viewer, "shop")
        app.stream(Stream(paced(8)))
        app.close()
