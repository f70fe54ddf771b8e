"""The page of a stream that runs, by a real openai and the scripted provider: late, hanging, and after both."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai
import pytest

from otel_tokenstream import OpenAIInstrumentor
from otel_tokenstream.demo.provider import Script
from tests.viewer.viewer_client import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider import Piece, ScriptedProvider
    from otel_tokenstream.viewer.server import Viewer
    from tests.viewer.browser import Browser
    from tests.viewer.scenes import Application


@dataclass(frozen=True)
class Held(Script):
    """A script that goes on beyond each of some pieces when the test says so: the page may be slow."""

    held: Mapping[int, threading.Event] = field(default_factory=dict)

    def due(self, pieces: Sequence[str | Piece], seed: int) -> Iterator[float]:
        for index, at in enumerate(super().due(pieces, seed)):
            if index in self.held:
                self.held[index].wait(60)
            yield at


@contextmanager
def streaming(app: Application, provider: ScriptedProvider, script: Script, **settings: Any) -> Iterator[None]:
    """An instrumented program that reads one stream, which has ended when the block is left."""
    provider.scripts["test"] = script
    instrumentor = OpenAIInstrumentor()
    providers = {"tracer_provider": app.traces, "meter_provider": app.metrics, "logger_provider": app.logs}
    instrumentor.instrument(**providers, **{"events": "both", **settings})

    def read() -> None:
        client = openai.OpenAI(base_url=provider.base_url, api_key="none")
        for _ in client.chat.completions.create(model="test", messages=[{"role": "user", "content": "x"}], stream=True):
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        reader.join()
        instrumentor.uninstrument()


def show_only_stream(viewer: Viewer, browser: Browser) -> None:
    browser.open(viewer)
    browser.until(lambda: streams(viewer), "no stream came")
    (stream,) = streams(viewer)
    browser.open(viewer, f"#/{stream['trace_id']}/{stream['span_id']}")
    browser.until(lambda: browser.texts(".facts dt"), "no figures")


def milliseconds(text: str) -> float:
    """What the page writes as a time."""
    minutes = re.fullmatch(r"(\d+) m (\d+) s", text)
    if minutes:
        return (int(minutes[1]) * 60 + int(minutes[2])) * 1000
    number, unit = text.split()
    return float(number) * {"µs": 0.001, "ms": 1, "s": 1000}[unit]


def figures(browser: Browser) -> dict[str, str]:
    """The page's figures by their names, as they stand at one moment."""
    found: dict[str, str] = browser.run(
        """
        return Object.fromEntries([...document.querySelectorAll(".facts > div:not(.split)")]
          .map((each) => [each.querySelector("dt").textContent, each.querySelector("dd").textContent]))
        """
    )
    return found


def shares(browser: Browser) -> dict[str, tuple[float, int]]:
    """Time in ms and percent of each part of the duration."""
    texts = [
        re.fullmatch(r"(.+?) ([\d.]+ (?:µs|ms|s)|\d+ m \d+ s) \((\d+) %\)", text) for text in texts_of_parts(browser)
    ]
    return {found[1]: (milliseconds(found[2]), int(found[3])) for found in texts if found is not None}


def texts_of_parts(browser: Browser) -> list[str]:
    return browser.texts(".parts > span")


def lane(browser: Browser) -> dict[str, list[tuple[float, float]]]:
    """Where the lane is painted, in seconds, by who spent the time."""
    found: dict[str, list[tuple[float, float]]] = browser.run(
        """
        const bars = document.querySelector(".picture").data.filter((trace) => trace.type === "bar");
        return Object.fromEntries(bars.map((bar) => [bar.name, bar.base.map((from, at) => [from, from + bar.x[at]])]));
        """
    )
    return found


def growth(browser: Browser) -> tuple[float, float]:
    """Where the curve of characters ends: seconds and characters."""
    x, y = browser.run(
        """
        const lines = document.querySelector(".picture").data.filter((trace) => trace.mode === "lines" && !trace.yaxis);
        return [lines.at(-1).x.at(-1), lines.at(-1).y.at(-1)];
        """
    )
    return x, y


def test_time_before_the_headers_has_a_name_and_a_colour(
    viewer: Viewer, application: Callable[..., Application], browser: Browser, provider: ScriptedProvider
) -> None:
    """The wait for the headers and the one after them: opening and provider, in figures and in the lane."""
    begun, opened = threading.Event(), threading.Event()

    def late(_: Mapping[str, Any]) -> list[str]:
        begun.wait(60)
        return ["word "] * 5

    with streaming(application(), provider, Held(late, gap=0.02, held={0: opened})):
        try:
            show_only_stream(viewer, browser)
            browser.until(lambda: "waits for its stream" in figures(browser), "nobody is said to wait")
            assert shares(browser)["opening"][1] == 100
            begun.set()
            browser.until(
                lambda: "waits for the first token" in figures(browser), "the provider is not said to be waited for"
            )
        finally:
            begun.set()
            opened.set()
    (exchange,) = provider.log.settled()
    before_headers = ((exchange.headers_ns or 0) - exchange.received_ns) / 1e6
    before_tokens = (exchange.sent("text")[0] - exchange.received_ns) / 1e6
    browser.until(lambda: browser.texts("h1 .badge") == ["completed"], "the end did not come")
    browser.until_drawn()
    parts = shares(browser)
    assert list(parts)[:2] == ["opening", "provider"]
    assert parts["opening"][0] >= 0.99 * before_headers, "but for what the page rounds"
    assert parts["opening"][0] + parts["provider"][0] >= 0.99 * before_tokens
    assert sum(percent for _, percent in parts.values()) == 100
    painted = lane(browser)
    ((start, end),) = painted["opening"]
    assert start == 0
    assert end * 1000 >= 0.99 * before_headers
    assert painted["wait"][0][0] == pytest.approx(end, abs=0.1)
    assert painted["wait"][0][1] * 1000 >= 0.99 * before_tokens
    assert painted["other"] == []
    assert "opening" in browser.texts(".legend li")


def test_a_stream_that_hangs_is_shown_as_it_is(
    viewer: Viewer, application: Callable[..., Application], browser: Browser, provider: ScriptedProvider
) -> None:
    """The clock runs, the stall grows and is the provider's, the curve is flat, all chunks are there."""
    goes_on = threading.Event()
    hanging = Held(["word "] * 31, gap=0.02, held={31: goes_on})
    with streaming(application(), provider, hanging, stall_threshold=0.5):
        try:
            show_only_stream(viewer, browser)
            browser.until(lambda: "waits for the next chunk" in figures(browser), "no stall")
            browser.until_drawn()
            browser.until(lambda: growth(browser)[1] == 31 * 5, "not all chunks are shown")
            first = figures(browser)
            browser.until(
                lambda: milliseconds(figures(browser)["so far"]) >= milliseconds(first["so far"]) + 1000, "no clock"
            )
            said, painted, (grown_until, _) = figures(browser), lane(browser), growth(browser)
            parts = shares(browser)
        finally:
            goes_on.set()
    now = milliseconds(said["so far"])
    stalls, _, stalled = said["stalls"].partition(", ")
    assert stalls == "1"
    assert milliseconds(stalled) > milliseconds(first["stalls"].partition(", ")[2])
    assert milliseconds(said["longest wait"]) == milliseconds(stalled) == milliseconds(said["waits for the next chunk"])
    assert milliseconds(said["gap median | p95 | max"].split(" | ")[2]) >= milliseconds(stalled) - 10
    start, end = painted["wait"][-1]
    assert end * 1000 == pytest.approx(now, abs=600), "what is painted is as new as the figures, but for a tick"
    assert end - start == pytest.approx(milliseconds(stalled) / 1000, abs=0.6)
    assert grown_until <= start + 0.1
    assert parts["provider"][0] >= milliseconds(stalled) - 10
    assert sum(percent for _, percent in parts.values()) == 100

    browser.until(lambda: browser.texts("h1 .badge") == ["completed"], "the end did not come")
    browser.until(lambda: "duration" in figures(browser), "no duration")
    said = figures(browser)
    ((left, right),) = browser.run(
        "return document.querySelector('.picture').layout.shapes.filter((shape) => shape.type === 'rect')"
        ".map((shape) => [shape.x0, shape.x1])"
    )
    assert (right - left) * 1000 == pytest.approx(milliseconds(said["longest wait"]), abs=60)
    assert said["stalls"] == f"1, {said['longest wait']}"
    assert any(start <= left + 0.01 and end >= right - 0.01 for start, end in lane(browser)["wait"])
