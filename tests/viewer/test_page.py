from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.keys import Keys

from otel_tokenstream import signals
from tests.viewer.scenes import Application, Stream, events_of, ids, new_context, paced, summary_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import SpanContext

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser

ROWS = ".streams tbody tr"


def link(context: SpanContext) -> str:
    return "#/" + "/".join(ids(context))


def test_an_empty_page_tells_how_to_send_something(viewer: Viewer, browser: Browser) -> None:
    """The commands carry this viewer's own address."""
    browser.open(viewer)
    commands = browser.one(".instructions pre").text
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT={viewer.url}" in commands
    assert "opentelemetry-instrument python app.py" in commands
    browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as over http from elsewhere
    browser.click(".instructions button")
    browser.until(lambda: "nobody copy" in browser.texts(".instructions [role=status]")[0], "it says nothing")


def test_the_list_grows_without_a_reload(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """From the instructions to the first stream to the second, newest first, in one document."""
    app = application("shop")
    browser.open(viewer)
    browser.one(".instructions")
    browser.run("window.theSameDocument = true")
    app.stream(Stream(paced(5), model="first"))
    browser.until(lambda: len(browser.all(ROWS)) == 1, "the first stream did not come")
    assert not browser.all(".instructions")
    app.stream(Stream(paced(5), model="second", outcome="failed", error_type="litellm.exceptions.Timeout"))
    browser.until(lambda: len(browser.all(ROWS)) == 2, "the second stream did not come")
    newest, oldest = browser.texts(ROWS)
    assert "second" in newest
    assert "failed" in newest
    assert "Timeout" in newest
    assert "first" in oldest
    app.gauges(active=4, stalled=2)
    browser.until(lambda: browser.texts(".now dd") == ["4", "2"], "the now-figures did not come")
    assert browser.run("return window.theSameDocument")
    browser.run(
        "const Real = Date; window.Date = class extends Real {"
        " constructor(...given) { given.length ? super(...given) : super(Real.now() + 86_400_000); } }"
    )
    app.stream(Stream(paced(5), model="third"))
    browser.until(lambda: len(browser.all(ROWS)) == 3, "the third stream did not come")
    assert all(re.match(r"\d{4}-", text) for text in browser.texts("td.clock")), "a row of yesterday has no date"


def test_a_list_of_open_streams_forgets_those_that_ended(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """One after the other, with an empty list between them."""
    app = application()
    stream = Stream(paced(3))
    browser.open(viewer, "#/?outcome=in_progress")
    for _ in range(2):
        start_ns = time.time_ns()
        span = app.tracer.start_span("chat gpt-4o-mini", start_time=start_ns)
        app.log_events(stream, span.get_span_context(), start_ns, events_of(stream))
        browser.until(lambda: browser.texts(ROWS), "the stream did not come")
        assert len(browser.texts(ROWS)) == 1
        span.set_attributes(summary_of(stream))
        span.end(start_ns + stream.total_us * 1000)
        browser.until(lambda: browser.all(".nothing-found"), "the stream did not go")


def test_a_row_shows_the_measured_figures(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Times in fitting units, fields by name, and a bar for provider against consumer."""
    stream = Stream(paced(28, first_us=1_340_000, stall_at=9, stall_us=3_210_000, fields=["reasoning", "answer"]))
    application("shop").stream(stream)
    browser.open(viewer)
    browser.one(ROWS)
    cells = browser.texts(f"{ROWS} td")
    summary = summary_of(stream)
    assert cells[1:4] == ["shop", "chat gpt-4o-mini", "completed"]
    assert cells[4] == "1.34 s"
    assert cells[6] == f"{summary[signals.GAP_P50_MS]} ms"
    assert cells[7:9] == ["3.21 s", "1"]
    assert cells[11] == "28"
    assert browser.texts(".chip") == ["reasoning", "answer"]
    assert re.fullmatch(
        r"opening 3 ms \(0 %\), provider 5\.\d\d s \(100 %\), consumer 2 ms \(0 %\)",
        browser.one(".shares").get_attribute("aria-label") or "",
    )


def test_a_stream_in_progress_is_followed_to_its_end(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Its page grows with the log events and shows the outcome when the span arrives."""
    app = application()
    stream = Stream(paced(20))
    start_ns = time.time_ns()
    span = app.tracer.start_span("chat gpt-4o-mini", start_time=start_ns)
    events = events_of(stream)
    app.log_events(stream, span.get_span_context(), start_ns, events[:7])
    browser.open(viewer, link(span.get_span_context()))
    browser.until(lambda: browser.texts("h1 .badge") == ["in progress"], "not in progress")
    browser.until_drawn()
    assert browser.texts("#events summary") == ["Events (7)"]
    app.log_events(stream, span.get_span_context(), start_ns, events[7:])
    browser.until(lambda: browser.texts("#events summary") == ["Events (22)"], "later events did not come")
    span.set_attributes(summary_of(stream))
    span.end(start_ns + stream.total_us * 1000)
    browser.until(lambda: browser.texts("h1 .badge") == ["completed"], "the end did not come")


def test_the_picture_has_growth_gaps_stalls_and_milestones(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """One stepped line a field, one dot a gap, a band for the stall, a line where the first token came."""
    context = application().stream(Stream(paced(20, fields=["reasoning", "answer"], stall_at=12, consumer_us=1000)))
    browser.open(viewer, link(context))
    browser.until_drawn()
    assert len(browser.all(".picture .xy .scatterlayer .trace .js-line")) == 2
    assert len(browser.all(".picture .xy2 .scatterlayer .points path")) == 19
    assert len(browser.all(".picture .barlayer .point")) == 1 + 20 + 19 + 1, (
        "opening, waits, and consumer times between and after"
    )
    labels = browser.texts(".picture .annotation-text, .picture .shape-label text")
    assert any(text.startswith("stall 2.50 s") for text in labels)
    assert any("first token" in text and "400 ms" in text for text in labels)
    legend = browser.texts(".legend li")
    assert legend[:2] == ["reasoning", "answer"]
    assert "stall" in legend
    assert browser.texts("[aria-labelledby=panel-output-fields] tbody th") == ["reasoning", "answer"]


def test_merged_events_are_called_so(viewer: Viewer, application: Callable[..., Application], browser: Browser) -> None:
    """2,000 chunks in 32 events: open diamonds, a legend entry, and a note above the events."""
    context = application().stream(Stream(paced(2000, gap_us=8000)))
    browser.open(viewer, link(context))
    browser.until_drawn()
    assert "longest gap of a merged event" in browser.texts(".legend li")
    assert "stand for several neighbouring chunks" in browser.texts("#events p")[0]
    browser.run("document.querySelector('#events').open = true")
    assert "Chunks merged" in browser.texts("#events th")


def test_the_growth_counts_chunks_on_request_and_gaps_can_be_linear(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Two switches, by mouse or keyboard; the axis titles follow."""
    context = application().stream(Stream(paced(20)))
    browser.open(viewer, link(context))
    browser.until_drawn()
    assert browser.texts(".picture .ytitle") == ["characters"]
    browser.click("input[value=chunks]")
    browser.until(lambda: browser.texts(".picture .ytitle") == ["chunks"], "the axis did not change")
    logarithmic = browser.texts(".picture .y2tick text")
    browser.one("input[value=log]").send_keys(Keys.ARROW_RIGHT)
    browser.until(lambda: browser.texts(".picture .y2tick text") != logarithmic, "the gaps did not change")


def test_a_failure_is_explained(viewer: Viewer, application: Callable[..., Application], browser: Browser) -> None:
    """The error's class stands above the figures, and a line where it struck."""
    error = "litellm.exceptions.APIConnectionError"
    stream = Stream(paced(9), outcome="failed", error_type=error, duration_us=5_000_000)
    browser.open(viewer, link(application().stream(stream)))
    browser.until_drawn()
    assert browser.texts(".notice strong") == [error]
    assert "failed 5.00 s" in browser.texts(".picture .annotation-text")


def test_the_trace_is_a_waterfall_that_leads_to_the_other_generations(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Parents above children, this stream marked, the next one a link."""
    app = application()
    start_ns = time.time_ns() - 10**10
    with app.around("ReAct.forward", start_ns, start_ns + 9 * 10**9):
        first = app.stream(Stream(paced(5)), start_ns + 10**6)
        second = app.stream(Stream(paced(5), model="judge"), start_ns + 4 * 10**9)
    browser.open(viewer, link(first))
    names = browser.until(lambda: browser.texts(".waterfall .name > :first-child"), "no waterfall")
    assert names == ["ReAct.forward", "chat gpt-4o-mini", "chat judge"]
    assert browser.texts(".waterfall .here .name > :first-child") == ["chat gpt-4o-mini"]
    browser.click(".waterfall a")
    browser.until(lambda: browser.driver.current_url.endswith(link(second)), "the link led elsewhere")
    browser.until(lambda: browser.texts("h1") == ["chat judge completed"], "the other stream is not shown")


HOSTILE = [
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "<b>bold</b><a href='javascript:alert(1)'>here</a>",
    "&lt;i&gt; %{x} ${y} ",
]


def test_hostile_output_is_shown_as_text_and_does_nothing(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """In the text, the tables, the headings, the legend and the chart's labels."""
    stream = Stream(
        paced(8, words=HOSTILE, fields=HOSTILE[:2]),
        model=HOSTILE[1],
        outcome="failed",
        error_type=HOSTILE[0],
        extra=(("custom", HOSTILE[0]),),
    )
    app = application(HOSTILE[2])
    start_ns = time.time_ns() - 10**9
    with app.around(HOSTILE[0], start_ns, start_ns + 10**9):
        context = app.stream(stream)
        app.log_ordinary(HOSTILE[1])
        app.stream(stream)
    browser.open(viewer)
    browser.until_drawn(".overview")
    assert HOSTILE[2] in browser.texts(f"{ROWS} td")
    browser.open(viewer, link(context))
    browser.until_drawn()
    assert "".join(browser.texts(".content span")) == "".join(HOSTILE * 2)
    assert set(HOSTILE[:2]) <= set(browser.texts(".legend li"))
    assert HOSTILE[0] in browser.texts(".waterfall .name > :first-child")
    for index in range(len(HOSTILE)):
        browser.run(
            """
            const chart = document.querySelector(".picture");
            const dots = chart.data.findIndex((trace) => trace.mode === "markers" && trace.x.length);
            Plotly.Fx.hover(chart, [{ curveNumber: dots, pointNumber: arguments[0] }], "xy2");
            """,
            index,
        )
        # The first dot belongs to the second chunk: there is no gap before the first.
        expected = HOSTILE[(index + 1) % len(HOSTILE)]
        browser.until(
            lambda expected=expected: any(expected in label for label in browser.texts(".hoverlayer .nums")), expected
        )
    made = "main img, main script, main td b, main h1 b, .content span *, svg a, svg b"
    assert browser.all(made) == []
    assert browser.driver.title == f"chat {HOSTILE[1]} · otel-tokenstream"


def test_filters_are_kept_in_the_address(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """A choice changes the address; the address opened anew shows the same choice."""
    app = application("shop")
    app.stream(Stream(paced(3), model="a"))
    app.stream(Stream(paced(3), model="b", outcome="failed"))
    browser.open(viewer)
    browser.until(lambda: len(browser.all(ROWS)) == 2, "not all streams")
    browser.choose("outcome", "failed")
    browser.until(lambda: len(browser.all(ROWS)) == 1, "not filtered")
    fragment = browser.run("return location.hash")
    browser.open(viewer, fragment)
    browser.until(lambda: len(browser.all(ROWS)) == 1, "not filtered")
    assert browser.one("select[name=outcome]").get_property("value") == "failed"
    browser.choose("model", "a")
    browser.click(".nothing-found a")
    browser.until(lambda: len(browser.all(ROWS)) == 2, "not all streams")


def test_the_keyboard_leads_to_a_stream_and_a_live_update_keeps_the_focus(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Every row has a link that takes the focus; new rows above do not take it away."""
    app = application()
    context = app.stream(Stream(paced(3)))
    browser.open(viewer)
    browser.one(f"{ROWS} a").send_keys("")
    assert browser.run("return document.activeElement.getAttribute('href')") == link(context)
    app.stream(Stream(paced(3)))
    browser.until(lambda: len(browser.all(ROWS)) == 2, "the second stream did not come")
    assert browser.run("return document.activeElement.getAttribute('href')") == link(context)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    browser.until(lambda: browser.all("article h1"), "the stream is not shown")
    assert browser.run("return document.activeElement.id") == "main"
    unnamed = """
        return [...document.querySelectorAll('section, [role=region], [role=img], select, input, table')]
          .filter((node) => !(node.ariaLabel || node.labels?.length || node.querySelector('caption')
            || document.getElementById(node.getAttribute('aria-labelledby'))?.textContent))
          .map((node) => node.outerHTML)
    """
    assert browser.run(unnamed) == []


def test_the_page_follows_the_colour_scheme(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """Page and chart change together, without a reload."""
    browser.open(viewer, link(application().stream(Stream(paced(8)))))
    browser.until_drawn()
    look = """
        const style = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
        return [style("body", "backgroundColor"), style("body", "color"),
                style(".picture .xtick text", "fill"), style(".picture .js-line", "stroke")]
    """
    light = browser.run(look)
    browser.prefer("dark")
    browser.until(lambda: all(one != other for one, other in zip(light, browser.run(look), strict=True)), "still light")


def test_nothing_is_loaded_from_elsewhere(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """The chart library too comes from the viewer, out of an installed package."""
    browser.open(viewer, link(application().stream(Stream(paced(8)))))
    browser.until_drawn()
    loaded = browser.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert f"{viewer.url}/page/plotly.min.js" in loaded
    assert [address for address in loaded if not address.startswith(viewer.url)] == []


def test_a_stream_that_is_gone_is_explained(viewer: Viewer, open_browser: Browser) -> None:
    """A deep link may outlive the retention."""
    open_browser.open(viewer, link(new_context()))
    assert "retention" in open_browser.one("[role=alert]").text


@pytest.mark.parametrize(
    "attempt",
    [
        "document.head.append(Object.assign(document.createElement('style'), {textContent: 'body {color: red}'}))",
        "document.head.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))",
        "document.body.setAttribute('style', 'color: red')",
        "fetch('http://127.0.0.1:9/').catch(() => {})",
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))",
    ],
)
def test_the_policy_is_in_force(viewer: Viewer, open_browser: Browser, attempt: str) -> None:
    """What the page never does is refused and reported: the empty console of the other tests means something."""
    open_browser.open(viewer)
    open_browser.one(".instructions")
    open_browser.console()
    open_browser.run(attempt)
    open_browser.until(
        lambda: any("Content Security Policy" in message for message in open_browser.console()), "no violation"
    )
    assert open_browser.run("return window.ran ?? null") is None
