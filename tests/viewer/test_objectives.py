"""First tokens against the objective of their model: in the API, on the page, in the report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.viewer import running
from tests.viewer.scenes import Application, Stream, ids, paced
from tests.viewer.viewer_client import detail, get, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser

FILE = """
defaults: {first_token: {within: 1}}
overrides:
  - {service: batch-*, first_token: {within: 30}}
  - {model: "gpt-4o*", first_token: {within: 5}}
"""
LATE_US = 3_000_000
CELL = ".streams tbody tr:nth-child(%d) td:nth-child(5)"


@pytest.fixture
def judging(tmp_path: Path) -> Iterator[Viewer]:
    """A viewer with a file of objectives."""
    path = tmp_path / "objectives.yaml"
    path.write_text(FILE)
    with running(database=tmp_path / "judging.db", objectives=path) as viewer:
        yield viewer


@pytest.fixture
def sent(judging: Viewer) -> Iterator[Callable[[str, str], tuple[str, str]]]:
    """Sends a stream of a service and model with a first token after 3 s; returns its ids."""
    started: list[Application] = []

    def send(service: str, model: str) -> tuple[str, str]:
        started.append(Application(judging, service, "http"))
        return ids(started[-1].stream(Stream(paced(5, first_us=LATE_US), model=model), time.time_ns()))

    yield send
    for each in started:
        each.close()


def told(stream: dict[str, object]) -> tuple[object, object]:
    return stream["first_token_objective_ms"], stream["first_token_late"]


def test_without_a_file_the_objectives_of_the_alerts_hold(
    viewer: Viewer, application: Callable[..., Application]
) -> None:
    """A model that thinks has longer; a stream that failed before any token is late."""
    app = application("shop")
    for model in ("gpt-4o", "my-reasoner"):
        app.stream(Stream(paced(5, first_us=LATE_US), model=model))
    app.stream(Stream(paced(5), model="quick"))
    assert {each["model"]: told(each) for each in streams(viewer)} == {
        "gpt-4o": (2500, True),
        "my-reasoner": (10_000, False),
        "quick": (2500, False),
    }


def test_a_file_sets_them_by_service_and_model(judging: Viewer, sent: Callable[[str, str], tuple[str, str]]) -> None:
    """In the list, on the stream's page and in the report over the same database."""
    late = sent("shop", "claude")
    sent("shop", "gpt-4o-mini")
    sent("batch-night", "claude")
    expected = {("shop", "claude"): (1000, True), ("shop", "gpt-4o-mini"): (5000, False)}
    expected["batch-night", "claude"] = (30_000, False)
    assert {(each["service"], each["model"]): told(each) for each in streams(judging)} == expected
    assert told(detail(judging, late)["stream"]) == (1000, True)
    reported = get(judging, "/api/report")["in_time"]
    assert {(each["service"], each["model"]): (each["within_ms"], not each["met"]) for each in reported} == expected


def test_a_late_first_token_is_marked_on_the_page(
    judging: Viewer, sent: Callable[[str, str], tuple[str, str]], browser: Browser
) -> None:
    """In the list and on the stream's page, each time beside its objective; one in time is not marked."""
    in_time, late = sent("shop", "gpt-4o"), sent("shop", "claude")
    browser.open(judging)
    browser.until(lambda: len(browser.all(".streams tbody tr")) == 2, "the streams did not come")
    marked = [browser.one(CELL % row).get_attribute("class") for row in (1, 2)]
    assert marked == ["number warning", "number"]
    assert browser.one(CELL % 1).get_attribute("title") == "Objective: 1.00 s"
    for context, objective, warning in ((late, "1.00 s", "warning"), (in_time, "5.00 s", "")):
        browser.open(judging, "#/" + "/".join(context))
        browser.until(lambda wanted=objective: wanted in browser.texts(".facts dd"), "the objective did not come")  # type: ignore[misc]
        first = browser.all(".facts dd")[browser.texts(".facts dt").index("first token")]
        assert first.text == "3.00 s"
        assert (first.get_attribute("class") or "") == warning


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("defaults: {first_token: {within: 6}}", "within is 6; only a bucket")]
)
def test_a_wrong_file_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    path = tmp_path / "objectives.yaml"
    if text:
        path.write_text(text)
    words = ["--http-port", "0", "--grpc-port", "0", "--database", str(tmp_path / "viewer.db")]
    assert main(["view", *words, "--objectives", str(path)]) == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert "objectives.yaml" in shown
    assert not (tmp_path / "viewer.db").exists()
