"""A release of a library that moves what is patched: doctor names the entry, and says nothing else."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.doctor import surroundings
from otel_tokenstream.doctor.probes import __main__ as probes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doctor.conftest import Seen

pytestmark = pytest.mark.timeout(1800)  # every entry of litellm and DSPy

# Runs at the start of each Python: openai keeps this method where nobody looks for it, and hands it out still.
MOVED = """
from wrapt import register_post_import_hook

def move(module):
    module.BaseClient.request = module.SyncAPIClient.request
    del module.SyncAPIClient.request

register_post_import_hook(move, "openai._base_client")
"""


@pytest.fixture
def known(healthy: pytest.MonkeyPatch) -> Callable[..., None]:
    """Know these libraries alone: those that build on them are imported for many seconds."""
    all_of_them = surroundings.libraries

    def only(*modules: str) -> None:
        healthy.setattr(
            surroundings, "libraries", lambda entries: [each for each in all_of_them(entries) if each.module in modules]
        )

    return only


@pytest.fixture
def at_start(healthy: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Have the Pythons that doctor starts begin with this code."""

    def write(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(code, encoding="utf-8")
        healthy.setenv("PYTHONPATH", str(tmp_path))

    return write


def probed(doctor: Callable[..., Seen]) -> list[str]:
    """Call the libraries, and return the names of those with all entries in place, then of those with a span a call."""
    seen = doctor(probe=True)
    assert (seen.complaints, seen.code) == ([], 0)
    return [each["seen"].split()[0].strip(":") for each in seen.findings if each["check"] in ("seams", "probe")]


def test_a_library_as_it_is_has_no_complaint(doctor: Callable[..., Seen], known: Callable[..., None]) -> None:
    """Each entry has a place, and each call one span; tests/versions calls litellm and DSPy."""
    known("anthropic", "openai")
    assert probed(doctor) == ["anthropic", "openai"] * 2


@pytest.mark.slow
def test_no_library_has_a_complaint(doctor: Callable[..., Seen]) -> None:
    names = ["anthropic", "dspy", "langchain-core", "lionagi", "lionpride", "litellm", "openai"]
    assert probed(doctor) == names * 2


def test_an_entry_that_moved_is_named(
    doctor: Callable[..., Seen], at_start: Callable[[str], None], known: Callable[..., None]
) -> None:
    """With the version; the call that has no span for that reason is not told a second time."""
    known("openai")
    at_start(MOVED)
    seen = doctor(probe=True)
    assert seen.complaints == [("fault", "seams")]
    complaint = next(each for each in seen.findings if each["level"] == "fault")
    assert f"openai {version('openai')} " in complaint["seen"]
    assert "for openai, sync:" in complaint["seen"]


def test_a_probe_reaches_no_other_machine() -> None:
    """Whatever a library does of its own accord."""
    code = (
        "import socket, sys\n"
        f"sys.path.insert(0, {str(Path(probes.__file__).parents[3])!r})\n"
        "from otel_tokenstream.doctor.probes.__main__ import stay_on_this_machine\n"
        "sys.addaudithook(stay_on_this_machine)\n"
        "with socket.socket() as here:\n"
        "    here.bind(('127.0.0.1', 0)); here.listen()\n"
        "    socket.create_connection(here.getsockname(), 5).close()\n"
        "for address in (('192.0.2.1', 443), ('2001:db8::1', 443)):\n"
        "    family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET\n"
        "    try: socket.socket(family).connect(address)\n"
        "    except ConnectionRefusedError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.splitlines() == ["a probe must not reach 192.0.2.1", "a probe must not reach 2001:db8::1"]
