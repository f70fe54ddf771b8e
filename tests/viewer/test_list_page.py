"""The list in a browser: pages, filters, orders, groups, keys and the way back."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from otel_tokenstream import signals
from otel_tokenstream.viewer import running
from otel_tokenstream.viewer.otlp import Rows, Span
from otel_tokenstream.viewer.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser

COUNT = 450
ROWS = "table.streams > tbody > tr"


def made(number: int, start_ns: int) -> Span:
    """One a second; the slowest and only stalled one is the oldest, every tenth failed; three a trace."""
    first_ms = 200 + number % 90
    attributes = {
        signals.OPERATION_NAME: "chat",
        signals.REQUEST_MODEL: ["gpt-4o", "gemma"][number % 2],
        signals.OUTCOME: "failed" if number % 10 == 3 else "completed",
        signals.CHUNKS: 20,
        signals.TIME_TO_FIRST_TOKEN_MS: first_ms,
        signals.STALL_COUNT: 4 * (number == 0),
        signals.STALL_TOTAL_MS: 60_000 * (number == 0),
        signals.USAGE_OUTPUT_TOKENS: number,
        signals.COST_USD: 0.001,
        signals.WAIT_TOTAL_MS: 900,
        signals.CONSUMER_TOTAL_MS: 50,
        signals.CONVERSATION_ID: f"talk-{number // 9}",
        "order": 7000 + number,
        **({signals.ERROR_TYPE: "litellm.exceptions.Timeout"} if number % 10 == 3 else {}),
    }
    length_ms = 2_280_000 if number == 0 else 1000
    return Span(
        *(f"{number // 3 + 1:032x}", f"{number + 1:016x}", "" if number % 3 == 0 else "f" * 16, "shop"),
        *(
            "ReAct.forward" if number % 3 == 0 else "chat",
            "client",
            start_ns,
            start_ns + length_ms * 10**6,
            "unset",
            "",
        ),
        *(attributes, [], {"service.name": "shop"}),
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    path = tmp_path_factory.mktemp("list") / "viewer.db"
    begin_ns = time.time_ns() - 30 * 3600 * 10**9  # of another day, so that rows show their date
    store = Store(path)
    store.submit(Rows(spans=[made(number, begin_ns + number * 10**9) for number in range(COUNT)])).result(timeout=20)
    store.close()
    with running(database=path) as viewer:
        yield viewer


def listed(browser: Browser) -> int:
    return browser.count(ROWS)


def until_listed(browser: Browser, count: int) -> None:
    browser.until(lambda: listed(browser) == count, f"not {count} rows")


def address(browser: Browser) -> str:
    return str(browser.run("return location.hash"))


def test_every_stream_can_be_reached(filled: Viewer, browser: Browser) -> None:
    """Shown and in all; the next pages; and by one click on a column the longest of all, which is the oldest."""
    browser.open(filled)
    until_listed(browser, 200)
    assert "1 to 200 of 450 streams" in browser.texts(".summary")[0]
    browser.click(".pages [rel=next]")
    browser.until(lambda: "201 to 400 of 450" in browser.texts(".summary")[0], "not the second page")
    browser.click(".pages [rel=next]")
    until_listed(browser, 50)
    assert "page=3" in address(browser)
    assert browser.texts(".pages span")[0] == "page 3 of 3"
    browser.run("[...document.querySelectorAll('th .sort')].find((each) => each.textContent === 'Duration').click()")
    browser.until(lambda: any("38 m 00 s" in text for text in browser.texts(f"{ROWS}:first-child")), "not by duration")
    assert browser.texts("th[aria-sort=descending]") == ["Duration ↓"]
    browser.click(f"{ROWS}:first-child td:last-child")
    browser.until(lambda: browser.all("article h1"), "a click on the row did not open the stream")
    assert address(browser).split("?") == [f"#/{1:032x}/{1:016x}", "sort=-duration_ms"]


def test_filters_stand_in_the_address_and_the_way_back_restores_the_place(filled: Viewer, browser: Browser) -> None:
    """Names, times, free search and columns; after a look at a stream the same rows at the same place."""
    browser.open(filled)
    until_listed(browser, 200)
    browser.choose("outcome", "failed")
    until_listed(browser, 45)
    assert "45 streams (450 in all) · 45 failed" in browser.texts(".summary")[0]
    search = browser.one("input[name=q]")
    search.send_keys("70")
    until_listed(browser, 10)
    assert browser.run("return document.activeElement.name") == "q"
    browser.driver.switch_to.active_element.send_keys("03")
    until_listed(browser, 1)
    assert address(browser) == "#/?q=7003&outcome=failed"
    assert browser.texts(".tools a") == ["report, without the filters: search"]
    browser.click(".column-choice summary")
    browser.click(".column-choice input[value=cost]")
    browser.until(lambda: "cost" in address(browser), "not another column")
    browser.until(lambda: browser.count(".column-choice[open] input:focus"), "the menu was closed")
    browser.click(".column-choice input[value=chunks]")
    browser.until(lambda: "chunks" in address(browser), "not a second column")
    browser.open(filled, "#/?model=gemma&first_token_over=240&columns=time,model,cost,finish_reason,chunks")
    heads = ["Time ↓", "Operation and model", "Cost", "Finish reason", "Chunks"]
    browser.until(lambda: browser.texts("table.streams th") == heads, "not the chosen columns")
    assert browser.one("input[name=first_token_over]").get_property("value") == "0.24"
    before = listed(browser)
    browser.run("scrollTo(0, 900)")
    browser.until(lambda: browser.run("return history.state?.y") == 900, "the place was not kept")
    opened = browser.all(f"{ROWS} a")[30]
    link = opened.get_attribute("href")
    browser.run("arguments[0].click()", opened)
    browser.until(lambda: browser.all("article h1"), "the stream is not shown")
    browser.driver.back()
    browser.until(lambda: listed(browser) == before, "not the same list")
    browser.until(lambda: browser.run("return scrollY") == 900, "not the same place")
    assert "first_token_over=240" in address(browser)
    browser.run("[...document.querySelectorAll('tbody a')].find((each) => each.href === arguments[0]).click()", link)
    browser.until(lambda: browser.all(".back a"), "no way back")
    browser.click(".back a")
    browser.until(lambda: listed(browser) == before, "the link back forgot the filter")


def test_an_address_that_says_nothing_leads_on(filled: Viewer, browser: Browser) -> None:
    """A time that is none, a page beyond the last, a chart that is none; a view that fails says why."""
    browser.open(filled, "#/?from=8640000000000001")
    browser.until(lambda: browser.all(".nothing-found"), "no list")
    browser.open(filled, "#/?page=7&outcome=failed&chart=constructor")
    browser.until(lambda: browser.all(".pages [rel=prev]"), "no way back")
    assert listed(browser) == 0
    browser.click(".pages [rel=prev]")
    until_listed(browser, 45)
    assert address(browser) == "#/?outcome=failed&chart=constructor"
    browser.until_drawn(".overview")
    browser.run("crypto.getRandomValues = () => { throw new Error('no numbers'); }; location.hash = '#/report'")
    browser.until(lambda: browser.texts("[role=alert]") == ["no numbers"], "the fault is not told")
    browser.run("location.hash = '#/?outcome=failed'")
    until_listed(browser, 45)
    assert browser.texts("[role=alert]") == []


def leave_a_place(browser: Browser, viewer: Viewer) -> None:
    """Scroll down the list, and open a stream."""
    browser.open(viewer)
    until_listed(browser, 200)
    browser.run("scrollTo(0, 900)")
    browser.until(lambda: browser.run("return history.state?.y") == 900, "the place was not kept")
    browser.run(f"document.querySelectorAll('{ROWS} a')[30].click()")
    browser.until(lambda: browser.all("article h1"), "the stream is not shown")


def go_back_and(browser: Browser, event: str, then: str) -> None:
    browser.run(f"addEventListener('{event}', () => {{ {then} }}, {{ once: true }}); history.back()")


def test_a_click_before_the_list_is_there_again_keeps_the_place(filled: Viewer, browser: Browser) -> None:
    leave_a_place(browser, filled)
    go_back_and(browser, "popstate", "document.body.click()")
    until_listed(browser, 200)
    browser.until(lambda: browser.run("return scrollY") == 900, "not the same place")


def test_a_list_that_is_left_before_it_was_filled_does_not_stop_places_from_being_kept(
    filled: Viewer, browser: Browser
) -> None:
    leave_a_place(browser, filled)
    go_back_and(browser, "hashchange", "location.hash = '#/?outcome=failed'")
    until_listed(browser, 45)
    browser.run("scrollTo(0, 400)")
    browser.until(lambda: browser.run("return history.state?.y") == 400, "the place was not kept")


def test_keys_lead_through_the_list(filled: Viewer, browser: Browser) -> None:
    """The slash to the search, j and k through the rows, Enter into one."""
    browser.open(filled, "#/?outcome=failed")
    until_listed(browser, 45)
    body = browser.one("body")
    body.send_keys("/")
    assert browser.run("return document.activeElement.name") == "q"
    browser.driver.switch_to.active_element.send_keys("j", Keys.BACKSPACE, Keys.ESCAPE)
    browser.until(lambda: browser.run("return document.activeElement.name") != "q", "still in the search")
    until_listed(browser, 45)
    body.send_keys("jjjk")
    links = browser.run(f"return [...document.querySelectorAll('{ROWS} a')].map((each) => each.href)")
    assert browser.run("return document.activeElement.href") == links[1]
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.until(lambda: browser.all("article h1"), "Enter did not open the stream")
    assert browser.driver.current_url == links[1]


def test_a_trace_is_one_row_that_opens(filled: Viewer, browser: Browser) -> None:
    """And a conversation; what is open stands in the address."""
    browser.open(filled, "#/?group=trace")
    browser.until(lambda: listed(browser) == 150, "not the traces")
    assert browser.texts(f"{ROWS}:first-child td")[1:3] == ["ReAct.forward", "3"]
    browser.click(f"{ROWS}:first-child td:last-child")
    browser.until(lambda: len(browser.all(".members tbody tr")) == 3, "the trace did not open")
    assert f"open={150:032x}" in address(browser)
    browser.click(".members tbody a")
    browser.until(lambda: browser.all("article h1"), "a member did not open")
    browser.open(filled, "#/?group=trace")
    browser.until(lambda: listed(browser) == 150, "not the traces")
    name = browser.one(f"{ROWS}:first-child td.named")
    ActionChains(browser.driver).move_to_element(name).click_and_hold().move_by_offset(-80, 0).release().perform()
    assert browser.run("return String(getSelection())")
    assert address(browser) == "#/?group=trace", "marking text opened the trace"
    browser.open(filled, "#/?group=conversation&outcome=failed")
    browser.until(lambda: browser.texts(f"{ROWS} .toggle"), "no conversations")
    assert browser.texts(f"{ROWS}:last-child td")[1:3] == ["talk-0", "1"]


def test_a_long_trace_says_how_many_of_its_streams_are_shown(viewer: Viewer, browser: Browser) -> None:
    """And leads to all of them."""
    now_ns = time.time_ns()
    spans = [replace(made(number, now_ns), trace_id="a" * 32) for number in range(501)]
    assert viewer._store
    viewer._store.submit(Rows(spans=spans)).result(timeout=60)
    browser.open(viewer, f"#/?group=trace&open={'a' * 32}")
    browser.until(lambda: browser.all(".members p"), "it is not told")
    assert browser.texts(".members p") == ["the first 500 of 501 streams · show all"]
    browser.run("document.querySelector('.members p a').click()")
    browser.until(lambda: "1 to 200 of 501 streams" in browser.texts(".summary")[0], "not all streams")


def test_figures_over_time_lead_to_their_streams(filled: Viewer, browser: Browser) -> None:
    """Percentiles of all that are chosen; a click on a point chooses its step; a dot of the other chart is a stream."""
    browser.open(filled)
    browser.until_drawn(".overview")
    assert browser.texts("[aria-labelledby=panel-over-time] .legend li") == ["p50", "p95", "p99"]
    click = """
        const chart = document.querySelector(".overview");
        const data = chart.data[0];
        chart.emit("plotly_click", { points: [{ customdata: data.customdata[1] }] });
        return data.customdata[1];
    """
    begin = browser.run(click)
    browser.until(lambda: f"from={begin}&to={begin + 10_000}" in address(browser), "the point led nowhere")
    until_listed(browser, 10)
    browser.choose("chart", "dots")
    browser.until(lambda: browser.texts("[aria-labelledby=panel-over-time] .legend li") == [], "still percentiles")
    browser.until_drawn(".overview")
    target = browser.run(
        """
        const chart = document.querySelector(".overview");
        const trace = chart.data.find((each) => each.x.length);
        chart.emit("plotly_click", { points: [{ customdata: trace.customdata[0] }] });
        return trace.customdata[0];
        """
    )
    browser.until(lambda: browser.all("article h1"), "the dot led nowhere")
    assert address(browser) == target
    for chart in ("shares", "rate", "cost"):
        browser.open(filled, f"#/?chart={chart}")
        browser.until(lambda: browser.all(".overview .scatterlayer, .overview .plot"), f"no chart of {chart}")


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (1360, "dark"), (390, "light"), (390, "dark")])
def test_the_list_is_accessible_and_fits(filled: Viewer, browser: Browser, width: int, scheme: str) -> None:
    """axe finds nothing, the page does not scroll sideways, and the outcome is in view."""
    browser.resize(width, 860)
    browser.prefer(scheme)
    last_rows = "#/?page=3"  # of all kinds as the first 200, for which axe takes seconds
    for fragment in ("", last_rows, "#/?group=trace&stalled=1", "#/?q=nothing-has-this"):
        browser.open(filled, fragment)
        browser.until(lambda: browser.all(f"{ROWS}, .nothing-found"), "no list")
        if fragment in ("", last_rows):
            browser.until_drawn(".overview")
            badge = browser.run(f"return document.querySelector('{ROWS} .badge').getBoundingClientRect().right")
            assert badge <= width
        if fragment:
            assert "\n".join(browser.violations()) == ""
        assert browser.run("return document.documentElement.scrollWidth") <= width


def test_new_streams_do_not_move_a_later_page(filled: Viewer, browser: Browser) -> None:
    """The first page is live; a later one stays as it was opened."""
    browser.open(filled, "#/?page=3")
    until_listed(browser, 50)
    first = browser.texts(f"{ROWS}:first-child")
    late = made(1, time.time_ns())
    assert filled._store
    filled._store.submit(Rows(spans=[replace(late, trace_id="c" * 32, span_id="d" * 16)])).result(timeout=10)
    browser.open(filled, "#/")
    browser.until(lambda: "of 451 streams" in browser.texts(".summary")[0], "the new stream did not come")
    browser.open(filled, "#/?page=3")
    until_listed(browser, 51)
    assert browser.texts(f"{ROWS}:nth-child(2)") == first
