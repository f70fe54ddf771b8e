from __future__ import annotations

import importlib.util
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.viewer import running

if TYPE_CHECKING:
    from pathlib import Path

SERVE = """
import sys
from pathlib import Path
from otel_tokenstream.viewer import serve
serve(http_port=0, grpc_port=0, database=Path(sys.argv[1]), retention_days=1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_prints_the_address_and_ends_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """One line when the page can be opened; a signal ends it in order."""
    command = [sys.executable, "-c", SERVE, str(tmp_path / "viewer.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line
        with urllib.request.urlopen(address[0], timeout=60) as page:
            assert b"otel-tokenstream" in page.read()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize(("taken", "option"), [("http_port", "--http-port"), ("grpc_port", "--grpc-port")])
def test_a_taken_port_is_named_with_the_option_that_changes_it(tmp_path: Path, taken: str, option: str) -> None:
    """And nothing is left running: the other port and the database are free again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(OSError, match=rf"127\.0\.0\.1:{port} .*{option}"),
            running(database=tmp_path / "viewer.db", **{taken: port}),
        ):
            pytest.fail("started on a taken port")
    with running(database=tmp_path / "viewer.db", **{taken: port}) as viewer:
        assert getattr(viewer, taken) == port


@pytest.mark.parametrize("option", ["--http-port", "--grpc-port"])
@pytest.mark.parametrize("port", ["99999", "65536", "-1"])
def test_a_port_that_cannot_be_is_refused_with_its_option(
    tmp_path: Path, option: str, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, what is allowed, and no traceback."""
    assert main(["view", option, port, "--database", str(tmp_path / "viewer.db")]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert f"{option} is {port}; give a number from 0 to 65535" in told.err


def test_a_taken_grpc_port_is_told_in_one_line(tmp_path: Path) -> None:
    """gRPC's own report of it, in C++'s words, does not come first."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        options = ["--http-port", "0", "--grpc-port", port, "--database", str(tmp_path / "viewer.db")]
        command = [sys.executable, "-m", "otel_tokenstream.cli", "view", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "Try --grpc-port" in done.stderr


def test_an_installation_without_plotly_names_the_missing_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receivers' packages may be there for another reason."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "plotly" else find(name, *more)
    )
    ports = ["--http-port", "0", "--grpc-port", "0"]
    assert main(["view", *ports, "--database", str(tmp_path / "viewer.db")]) == 2
    assert 'pip install "otel-tokenstream[viewer]"' in capsys.readouterr().err


def test_a_missing_extra_is_named_with_its_command() -> None:
    """The base install has no aiohttp: what to install stands in the error, and no traceback of imports before it."""
    code = "import sys; sys.modules['aiohttp'] = None\nfrom otel_tokenstream.viewer import serve\nserve()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    assert "pip install 'otel-tokenstream[viewer]'" in done.stderr.splitlines()[-1]
