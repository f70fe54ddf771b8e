"""What one does with a stream in a browser: copy, download, play, compare, look around in its trace."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from otel_tokenstream import signals
from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.sources.files import read_file
from tests.viewer.scenes import Application, Stream, ids, new_context, paced, summary_of
from tests.viewer.viewer_client import ask, get

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser

WORDS = ["Once ", "upon ", "a ", "time"]
MESSAGES = [
    {"role": "user", "parts": [{"type": "text", "content": "What is the <b>weather</b>?"}]},
    {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "I should look it up."},
            {"type": "tool_call", "id": "1", "name": "get_weather", "arguments": {"city": "Oslo"}},
            {"type": "text", "content": "It rains."},
        ],
    },
]


def three(app: Application) -> list[tuple[str, str]]:
    """Streams of one trace with a span of HTTP around the first; newest last."""
    start_ns = time.time_ns() - 20 * 10**9
    extra = (
        (signals.INPUT_MESSAGES, json.dumps(MESSAGES[:1])),
        (signals.OUTPUT_MESSAGES, json.dumps(MESSAGES[1:])),
        (signals.FINISH_REASONS, ["stop"]),
        (signals.COST_USD, 0.0123),
    )
    made = []
    with app.around("ReAct.forward", start_ns, start_ns + 15 * 10**9):
        with app.around("POST", start_ns, start_ns + 4 * 10**9, **{"http.request.method": "POST"}):
            made.append(app.stream(Stream(paced(8, words=WORDS), extra=extra), start_ns))
        made += [app.stream(Stream(paced(8, seed=number)), start_ns + number * 5 * 10**9) for number in (1, 2)]
    return [ids(context) for context in made]


def link(of: tuple[str, str]) -> str:
    return "#/" + "/".join(of)


def go_on_to(browser: Browser, of: tuple[str, str]) -> None:
    """Show another stream in the page that is open, as by a link."""
    browser.run("location.hash = arguments[0]", link(of))
    shown = "return document.querySelector('a[download]')?.href ?? ''"
    browser.until(lambda: of[1] in browser.run(shown), "the other stream is not shown")
    browser.until_drawn()


def test_a_stream_is_read_copied_and_kept(
    viewer: Viewer, application: Callable[..., Application], browser: Browser, tmp_path: Path
) -> None:
    """Its figures, its conversation with tools folded, its ids and its span; the download is a recording."""
    first, *_ = three(application("shop"))
    browser.open(viewer, link(first))
    browser.until_drawn()
    facts = dict(zip(browser.texts(".facts dt"), browser.texts(".facts dd"), strict=True))
    assert (facts["finish reason"], facts["cost"]) == ("stop", "$0.012")
    assert browser.texts(".message > b") == ["user", "assistant"]
    assert browser.texts(".said") == ["What is the <b>weather</b>?", "It rains."]
    assert browser.texts(".message summary") == ["reasoning", "calls get_weather"]
    assert browser.run("return [...document.querySelectorAll('.message details')].some((each) => each.open)") is False
    browser.run("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    copied: dict[str, Any] = {}
    for button in browser.all(".stream-tools button")[:4]:
        button.click()
        browser.until(lambda: browser.run("return window.copied"), "nothing was copied")
        copied[button.text] = browser.run("const text = window.copied; delete window.copied; return text")
    assert (copied["Trace id"], copied["Span id"]) == first
    assert copied["Link"] == f"{viewer.url}/{link(first)}"
    browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    browser.click(".stream-tools button")
    browser.until(lambda: "nobody copy" in browser.texts(".stream-tools [role=status]")[0], "it says nothing")
    span = json.loads(copied["Span as JSON"])
    assert span["attributes"][signals.OUTCOME] == "completed"
    path = tmp_path / "one.json"
    answer = ask(viewer, "/" + browser.one("a[download]").get_attribute("href").split("/", 3)[3])
    assert answer.headers["Content-Disposition"] == f'attachment; filename="stream-{first[1]}.json"'
    path.write_bytes(answer.body)
    recording = Recording()
    read_file(path, recording)
    (stream,) = recording.streams()
    assert (stream.span_id, stream.chunks, stream.first_token_ms) == (first[1], 8, 400)
    assert ask(viewer, f"/api/streams/{'a' * 32}/{'b' * 16}/recording").status == 404


def test_the_answer_is_played_in_its_own_timing(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """At any moment the text that had come by then; played, it grows to its end and can be paused."""
    first, second, _ = three(application("shop"))
    browser.open(viewer, link(first))
    browser.until_drawn()
    move = """
        const place = document.querySelector(".player input");
        place.value = arguments[0];
        place.dispatchEvent(new Event("input"));
        return document.querySelector(".played").textContent;
    """
    offsets = [chunk.offset_us for chunk in paced(8, words=WORDS)]
    assert browser.run(move, offsets[0] - 1000) == ""
    assert browser.run(move, offsets[1] + 1) == "Once upon "
    assert browser.run(move, offsets[-1] + 1) == "".join(WORDS * 2)
    browser.run(move, 0)
    browser.click(".player button")
    browser.until(lambda: browser.texts(".played") == ["".join(WORDS * 2)], "it was not played to its end")
    browser.until(lambda: browser.texts(".player button") == ["Play"], "it plays on after its end")
    go_on_to(browser, second)
    assert set(browser.run(move, 10**7)) == {"•"}, "without captured text, a dot for each character"


def test_neighbours_are_those_of_the_list_it_was_opened_from(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """By link and by key; u leads back to the list."""
    first, second, third = three(application("shop"))
    browser.open(viewer, f"{link(second)}?sort=start")
    browser.until(lambda: "2 of 3" in browser.texts(".near")[0], "its place is not told")
    assert browser.one(".near [rel=prev]").get_attribute("href").endswith(f"{link(first)}?sort=start")
    browser.one("body").send_keys("j")
    browser.until(lambda: browser.run("return location.hash") == f"{link(third)}?sort=start", "j did not lead on")
    browser.until(lambda: browser.texts(".near") and "3 of 3" in browser.texts(".near")[0], "not the last")
    browser.one("body").send_keys("u")
    browser.until(lambda: browser.run("return location.hash") == "#/?sort=start", "u did not lead back")
    application("other").stream(Stream(paced(3)))
    browser.open(viewer, f"{link(third)}?trace={third[0]}")
    browser.until(lambda: "1 of 3" in browser.texts(".near")[0], "not the neighbours in its trace")


def test_any_span_of_the_trace_opens(viewer: Viewer, application: Callable[..., Application], browser: Browser) -> None:
    """On an axis of time, with the first token of each stream marked; one of HTTP shows its attributes.

    When the page changes, the span stays open, with the focus, and what was scrolled stays where it was.
    """
    app = application("shop")
    first, *_ = three(app)
    browser.open(viewer, link(first))
    browser.until(lambda: browser.texts(".waterfall .name > :first-child"), "no waterfall")
    assert browser.texts(".tick")[0] == "0"
    assert len(browser.all(".first-token")) == 3
    rows = browser.texts(".waterfall .name > :first-child")
    assert rows[:2] == ["ReAct.forward", "POST"]
    browser.all(".waterfall .toggle")[1].click()
    browser.until(lambda: "http.request.method" in browser.texts(".inside th code"), "the span did not open")
    browser.all(".waterfall .toggle")[1].send_keys("")
    browser.run("document.styleSheets[0].insertRule('article .content:not(.played) { max-height: 4px }')")
    browser.run("document.querySelector('.content:not(.played)').scrollTo(0, 9)")
    context = trace.SpanContext(int(first[0], 16), int(first[1], 16), is_remote=False)
    with trace.use_span(trace.NonRecordingSpan(context)):
        app.log_ordinary("news")
    browser.until(lambda: browser.all("#records"), "the record did not come")
    toggle = "const toggle = document.querySelectorAll('.waterfall .toggle')[1]; return "
    assert browser.run(f"{toggle} [toggle.ariaExpanded, document.activeElement === toggle]") == ["true", True]
    assert browser.run("return document.querySelector('.content:not(.played)').scrollTop") == 9
    assert "http.request.method" in browser.texts(".inside th code")
    browser.click(".waterfall .toggle[aria-expanded=true]")
    assert browser.texts(".inside th code") == []
    assert get(viewer, f"/api/spans/{'/'.join(first)}")["attributes"][signals.CHUNKS] == 8
    assert ask(viewer, f"/api/spans/{first[0]}/{'b' * 16}").status == 404


def test_a_first_token_beyond_the_end_of_its_span_stays_on_the_axis(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """As of a program whose clock was set back."""
    late = Stream(paced(2), extra=((signals.TIME_TO_FIRST_TOKEN_MS, 10**8),))
    browser.open(viewer, link(ids(application().stream(late))))
    browser.until(lambda: browser.all(".waterfall .first-token"), "no waterfall")
    assert browser.run("return document.documentElement.scrollWidth") <= 1360
    place = "const [mark, track] = ['.first-token', '.waterfall .track'].map((each) => document.querySelector(each)"
    inside = f"{place}.getBoundingClientRect()); return mark.right <= track.right + 1 && mark.left > track.left"
    assert browser.run(inside)


def test_a_link_of_a_span_leads_to_its_stream(
    viewer: Viewer, application: Callable[..., Application], browser: Browser
) -> None:
    """A span that is no stream here is named by its ids."""
    app = application("shop")
    earlier, elsewhere = app.stream(Stream(paced(3))), new_context()
    start_ns = time.time_ns() - 10**10
    with app.around(
        "retry", start_ns, start_ns + 10**9, links=[trace.Link(earlier, {"why": "retried"}), trace.Link(elsewhere)]
    ):
        later = app.stream(Stream(paced(3)), start_ns)
    browser.open(viewer, link(ids(later)))
    browser.until(lambda: browser.all(".waterfall .toggle"), "no waterfall")
    browser.all(".waterfall .toggle")[0].click()
    browser.until(lambda: browser.all(f".inside a[href='{link(ids(earlier))}']"), "no link to the stream")
    assert any("retried" in each for each in browser.texts(".inside td.value"))
    assert " ".join(ids(elsewhere)) in browser.texts(".inside th code")


@pytest.mark.parametrize(("width", "scheme"), [(1360, "light"), (390, "dark")])
def test_two_streams_stand_beside_each_other(
    viewer: Viewer, application: Callable[..., Application], browser: Browser, width: int, scheme: str
) -> None:
    """One is marked, the other opened; both grow on one axis. axe finds nothing here and on a stream's page."""
    browser.resize(width, 860)
    browser.prefer(scheme)
    first, second, _ = three(application("shop"))
    browser.open(viewer, link(first))
    browser.until_drawn()
    assert "\n".join(browser.violations()) == ""
    assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.all(".stream-tools button")[4].click()
    go_on_to(browser, second)
    browser.click(".stream-tools a[href^='#/beside']")
    browser.until_drawn(".beside")
    figures = browser.texts("[aria-labelledby=panel-figures] tbody tr")
    chunks = summary_of(Stream(paced(8)))[signals.CHUNKS]
    assert f"chunks{chunks}{chunks}" in figures
    assert len(browser.all(".beside .scatterlayer .trace")) == 2
    assert "\n".join(browser.violations()) == ""
    assert browser.run("return document.documentElement.scrollWidth") <= width
