"""What other servers than a healthy Tempo answer. The real one is asked in tests/stack/test_report.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.analysis.sources import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.analysis.answering import Server

TOKEN = "s3cret"


def test_the_token_and_the_tenant_are_sent(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, with further headers as OTLP exporters write them."""
    monkeypatch.setenv("TEMPO_BEARER_TOKEN", TOKEN)
    monkeypatch.setenv("TEMPO_HEADERS", "x-team=a%20b,x-zone=1")
    server = serve(body=b"{}")
    assert server.read().streams() == []
    (asked,) = [{name.lower(): value for name, value in each.items()} for each in server.asked]
    assert asked["authorization"] == f"Bearer {TOKEN}"
    assert (asked["x-scope-orgid"], asked["x-team"], asked["x-zone"]) == ("team-a", "a b", "1")


def test_the_token_goes_nowhere_else(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirection is refused instead of followed; the message does not hold the token."""
    monkeypatch.setenv("TEMPO_BEARER_TOKEN", TOKEN)
    elsewhere = serve(body=b"{}")
    server = serve(302, Location=f"{elsewhere.url}/api/search")
    with pytest.raises(SourceError, match="answers 302") as refused:
        server.read()
    assert TOKEN not in str(refused.value)
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"no org id", r"answers 401 no org id; set TEMPO_BEARER_TOKEN or TEMPO_HEADERS, or name a tenant"),
        (404, b"", "is this Tempo's HTTP address"),
        (500, b"boom", "answers 500 boom; see its log"),
        (200, b"<html>Grafana</html>", "answers, but not as Tempo does"),
        (200, b"[]", "answers, but not as Tempo does"),
        (200, b"3", "answers, but not as Tempo does"),
        (None, b"220 mail\r\n", "answers, but not as Tempo does"),
        (200, b'{"traces": [{"id": 1}]}', "answers, but not as Tempo does"),
    ],
)
def test_an_error_is_explained_with_its_remedy(
    serve: Callable[..., Server], status: int | None, body: bytes, said: str
) -> None:
    """A wrong port, a missing token and a failing server each have a message of their own."""
    with pytest.raises(SourceError, match=said):
        serve(status, body).read()


def test_headers_of_another_form_are_refused(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent."""
    monkeypatch.setenv("TEMPO_HEADERS", "Bearer x")
    server = serve(body=b"{}")
    with pytest.raises(SourceError, match="TEMPO_HEADERS is not of the form"):
        server.read()
    assert server.asked == []
