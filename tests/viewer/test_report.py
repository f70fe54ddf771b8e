from __future__ import annotations

import http.client
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from otel_tokenstream import signals
from otel_tokenstream.viewer import running
from otel_tokenstream.viewer.otlp import Rows, Span
from tests.viewer.scenes import Application, Stream, paced
from tests.viewer.viewer_client import ask, get

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser


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
    browser.run("crypto.randomUUID = undefined")  # as over http from another machine
    browser.click("header a[href='#/report']")
    shown(browser)
    assert browser.texts(".tile b")[0] == "48"
    browser.driver.switch_to.default_content()
    for name, text in (("a", "model=slow"), ("b", "model=quick"), ("where", "outcome=completed")):
        browser.one(f"input[name={name}]").send_keys(text)
    browser.click("form button[type=submit]")
    browser.until(
        lambda: "compare=model%3Dslow&compare=model%3Dquick" in browser.run("return location.hash"), "address"
    )
    shown(browser)
    browser.until(lambda: browser.texts("h2")[0] == "Comparison", "not compared")
    browser.driver.switch_to.default_content()
    assert browser.violations() == []
    browser.click(".back a")
    browser.until(lambda: browser.texts("table.streams tbody tr"), "no way back")
    browser.driver.get(f"{viewer.url}/report?compare=model%3Dslow&compare=model%3Dquick")
    assert browser.texts("h2")[0] == "Comparison"
    assert "b is better" in browser.texts("td.better")
    assert browser.run("return getComputedStyle(document.body).margin") == "0px"
    browser.click("main a[href='./']")
    browser.until(lambda: browser.texts("table.streams tbody tr"), "no way back from the page by itself")


def test_a_report_on_a_list_has_its_conditions(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Each by itself, since a value may have commas; what a report has no word for is named in the link."""
    app = application("shop")
    app.stream(Stream(paced(3), model="one,two", extra=((signals.FINISH_REASONS, ["stop", "stop"]),)))
    app.stream(Stream(paced(3), model="m" * 300))
    browser.open(viewer, "#/?model=one%2Ctwo&finish_reason=stop%2Cstop&q=shop&outcome=in_progress&trace=" + "a" * 32)
    browser.until(lambda: browser.all(".nothing-found"), "no list")
    assert browser.texts(".tools a") == ["report, without the filters: search, outcome, trace"]
    browser.click(".tools a")
    shown(browser)
    assert browser.texts(".tile b")[0] == "1"
    browser.driver.switch_to.default_content()
    values = "return [...document.querySelectorAll('input[name=where]')].map((each) => each.value)"
    conditions = ["model=one,two", "finish_reason=stop,stop"]
    assert sorted(browser.run(values)) == sorted(conditions)
    address = browser.run("return location.hash")
    browser.one("input[name=a]").send_keys("outcome=completed")
    browser.click("form button[type=submit]")
    browser.until(lambda: "compare" in browser.run("return location.hash"), "not shown again")
    assert browser.run("return location.hash").startswith(address)
    (cut,) = (stream["model"] for stream in get(viewer, "/api/streams")["streams"] if stream["model"][0] == "m")
    browser.open(viewer, f"#/?model={quote(cut)}")
    browser.until(lambda: browser.texts("table.streams tbody tr"), "not found by its name")
    assert browser.texts(".tools a") == ["report, without the filters: model"]
    assert browser.one(".tools a").get_attribute("href").endswith("#/report")


def shown(browser: Browser) -> None:
    """Waits for the report within the page, and looks into it."""
    browser.until(lambda: browser.all("iframe.report:not([hidden])"), "the report did not come")
    browser.driver.switch_to.frame(browser.one("iframe.report"))
    browser.until(lambda: "How the streams behaved" in browser.texts("h1"), "the report is not shown")


def test_a_report_is_about_a_time_and_tells_how_far_it_is(viewer: Viewer) -> None:
    """From one moment to before another; while it is made, the share of the database that was read grows."""
    many_names(viewer, 20_000)
    report = get(viewer, "/api/report?from=100000&to=160000&by=outcome")
    assert (report["total"]["streams"], report["start"]) == (60, "1970-01-01T00:01:40Z")
    assert ask(viewer, "/api/report?from=yesterday").status == 400
    assert get(viewer, "/api/report_progress?id=none")["share"] is None
    with ThreadPoolExecutor() as pool:
        made = pool.submit(get, viewer, "/api/report?progress=mine")
        shares = []
        while not made.done():
            shares.append(get(viewer, "/api/report_progress?id=mine")["share"])
            time.sleep(0.01)
        assert made.result()["total"]["streams"] == 20_000
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert known[0] < known[-1] <= 1


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


def many_names(viewer: Viewer, names: int) -> None:
    """Streams of as many models, services, outcomes and error types, straight into the database."""
    spans = [
        Span(
            trace_id=f"{number:032x}",
            span_id=f"{number:016x}",
            parent_id="",
            service=f"service-{number}",
            name="chat m",
            kind="client",
            start_ns=number * 10**9,
            end_ns=(number + 1) * 10**9,
            status="unset",
            status_message="",
            attributes={
                signals.OUTCOME: f"outcome-{number}",
                signals.REQUEST_MODEL: f"model-{max(number, 3)}",
                signals.ERROR_TYPE: f"Error{number}",
            },
            events=[],
            resource={},
        )
        for number in range(1, names + 1)
    ]
    assert viewer._store is not None
    viewer._store.submit(Rows(spans=spans)).result(timeout=60)


def test_more_names_than_can_be_shown_are_counted_together(viewer: Viewer, browser: Browser) -> None:
    """Of models, outcomes, errors and steps of time: the largest by name, the rest as one that says how many."""
    many_names(viewer, 1500)
    report = get(viewer, "/api/report?by=model&over=second")
    largest, *_, rest = report["groups"]
    assert (len(report["groups"]), largest["key"], largest["streams"]) == (101, {"model": "model-3"}, 3)
    assert (rest["key"], rest["streams"]) == ({"model": "(1,398 others)"}, 1398)
    assert sum(group["streams"] for group in report["groups"]) == report["total"]["streams"] == 1500
    assert len(report["total"]["outcomes"]) == 9
    assert report["total"]["outcomes"]["(others)"] == 1492
    assert len(report["total"]["errors"]) == 21
    assert report["total"]["errors"]["(1,480 others)"] == 1480
    assert report["over_time"]["step"] == "10s"
    assert any("100 largest groups" in note for note in report["notes"])
    assert any("shown by 10s" in note for note in report["notes"])
    browser.driver.get(f"{viewer.url}/report?by=model,service&over=session")
    assert "(1,398 others)" in browser.texts("td.name")


def test_the_page_offers_so_many_names_and_says_so(viewer: Viewer, browser: Browser) -> None:
    """The filter of a name that is not offered still works by the address."""
    many_names(viewer, 1000)
    choices = get(viewer, "/api/streams")["choices"]
    assert [len(choices[name]) for name in ("services", "models", "outcomes")] == [200] * 3
    assert choices["more"] == ["services", "models", "outcomes", "errors"]
    browser.open(viewer, "#/?model=model-999")
    browser.until(lambda: len(browser.texts("table.streams tbody tr")) == 1, "the filter by the address")
    options = browser.texts("select[name=model] option")
    assert "model-999" in options
    assert options[-1] == "only 200 of them are listed"


def test_a_viewer_ends_amid_a_report(tmp_path: Path) -> None:
    """The report's process ends with it, and with the reader who went away."""
    with running(database=tmp_path / "viewer.db") as viewer:
        many_names(viewer, 20_000)
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", viewer.http_port, timeout=60)
            connection.request("GET", "/report")
            until(lambda: children(viewer), "no report was begun")
            connection.close()
            until(lambda: not children(viewer), "the report goes on without its reader")
        connection.request("GET", "/report")
        until(lambda: children(viewer), "no report was begun")
        begun = children(viewer)
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in begun), "the report goes on without the viewer")
    connection.close()


def children(viewer: Viewer) -> list[int]:
    assert viewer._reports is not None
    return [process.pid for process in viewer._reports._running]


def until(condition: Callable[[], object], otherwise: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)
