from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from scenes import Application, Stream, paced
from viewer_client import ask, get

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from browser import Browser

    from otel_tokenstream.viewer.server import Viewer


def some_streams(app: Application) -> None:
    for index in range(24):
        app.stream(Stream(paced(10, first_us=200_000 + 1000 * index, seed=index), model="quick"))
        app.stream(Stream(paced(10, first_us=900_000 + 1000 * index, seed=index), model="slow"))


def test_figures_are_those_of_the_analysis(viewer: Viewer, application: Callable[..., Application]) -> None:
    """By model, with the median of what was sent, from the database that is being written."""
    some_streams(application("shop"))
    report = get(viewer, "/api/report?by=model")
    groups = {group["key"]["model"]: group for group in report["groups"]}
    assert {name: group["streams"] for name, group in groups.items()} == {"quick": 24, "slow": 24}
    assert groups["quick"]["measures"]["first_token_ms"]["p50"] == 211.5
    assert groups["slow"]["measures"]["first_token_ms"]["max"] == 923
    assert report["comparison"] is None


def test_the_page_compares_and_its_policy_lets_its_style_in(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """From the link on the viewer's page; the browser refuses nothing of it."""
    some_streams(application("shop"))
    browser.open(viewer)
    browser.one("a[href='/report']").click()
    browser.until(lambda: "How the streams behaved" in browser.texts("h1"), "the report did not come")
    assert browser.texts(".tile b")[0] == "48"
    browser.driver.get(f"{viewer.url}/report?compare=model%3Dslow&compare=model%3Dquick")
    assert browser.texts("h2")[0] == "Comparison"
    assert "b is better" in browser.texts("td.better")
    assert browser.run("return getComputedStyle(document.body).margin") == "0px"


def test_an_empty_viewer_has_no_report(viewer: Viewer) -> None:
    """Said as such, for people and for programs."""
    assert ask(viewer, "/report").status == 404
    assert ask(viewer, "/api/report").json() == {"error": "no such stream yet"}


def test_wrong_words_are_answered_and_files_are_no_words(
    viewer: Viewer, application: Callable[..., Application], tmp_path: Path
) -> None:
    """A request names conditions only: no file of this machine can be read through the viewer."""
    some_streams(application("shop"))
    secret = tmp_path / "secret=1"
    secret.write_text("{}")
    for query, said in (
        ("by=colour", "'colour' is nothing streams are told apart by"),
        ("since=yesterday", "no length of time"),
        ("over=year", "'year' is no step of time"),
        ("compare=model%3Dslow", "compare takes two conditions"),
        (f"compare={quote(str(viewer.database))}&compare=model%3Dslow", "is no condition"),
        (f"compare={quote(str(secret))}&compare=model%3Dslow", "is nothing streams are told apart by"),
    ):
        for path in ("/api/report", "/report"):
            answer = ask(viewer, f"{path}?{query}")
            assert answer.status == 400
            assert said in answer.body.decode()
