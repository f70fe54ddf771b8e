from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from otel_tokenstream import cli
from tests import zero_code
from tests.doctor.otlp_receivers import over_http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Seen(NamedTuple):
    """What doctor said: its exit code, its findings, and those that are no ok."""

    code: int
    findings: list[dict[str, Any]]

    @property
    def complaints(self) -> list[tuple[str, str]]:
        return [(each["level"], each["check"]) for each in self.findings if each["level"] != "ok"]

    def of(self, check: str) -> dict[str, Any]:
        (found,) = [each for each in self.findings if each["check"] == check]
        return found


@pytest.fixture(scope="session")
def receiver() -> Iterator[str]:
    """A receiver of OTLP/HTTP that takes everything."""
    with over_http() as (address, _):
        yield address


@pytest.fixture
def healthy(receiver: str, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which nothing is wrong; a test sets what is to be."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "GUNICORN_", "UWSGI_"))]:
        monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", zero_code.OTHERS)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{receiver}")
    return monkeypatch


@pytest.fixture
def doctor(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Seen]:  # noqa: ARG001  # it prepares
    """Run the command with these words, without calling the libraries unless told to."""

    def run(*words: str, probe: bool = False) -> Seen:
        capsys.readouterr()
        code = cli.main(["doctor", "--json", *([] if probe else ["--no-probe"]), *words])
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is (code == 0)
        return Seen(code, told["findings"])

    return run
