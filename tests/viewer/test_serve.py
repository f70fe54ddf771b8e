from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest

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
        with urllib.request.urlopen(address[0], timeout=20) as page:
            assert b"otel-tokenstream" in page.read()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)
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


def test_a_missing_extra_is_named_with_its_command() -> None:
    """The base install has no aiohttp: what to install stands in the error, and no traceback of imports before it."""
    code = "import sys; sys.modules['aiohttp'] = None\nfrom otel_tokenstream.viewer import serve\nserve()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'otel-tokenstream[viewer]'" in done.stderr.splitlines()[-1]
