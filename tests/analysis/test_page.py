from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.analysis.page import as_html
from otel_tokenstream.analysis.report import Question, answer, side_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.analysis.conftest import Recorded
    from tests.viewer.browser import Browser

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>&quot;'


def shown(browser: Browser, directory: Path, question: Question) -> None:
    path = directory / "report.html"
    path.write_text(as_html(answer(question)), encoding="utf-8")
    browser.driver.get(path.as_uri())


def test_plots_and_tables_are_drawn(browser: Browser, recorded: Recorded, tmp_path: Path) -> None:
    """A line for each model in the curves, a bar for each stall, columns by outcome, the page's own style."""
    shown(browser, tmp_path, Question(files=(recorded.database,)))
    titles = browser.texts("h2")
    for title in ("How long until the first token", "Tokens a second", "Streams that stalled", "How streams ended"):
        assert title in titles
    assert len(browser.all(".chart .line")) >= 8
    assert len(browser.all("rect.completed")) >= 1
    assert len(browser.all("rect.failed")) >= 1
    assert browser.texts(".tile b")[0] == str(len(recorded.generations))
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(246, 247, 249)"


def test_a_model_has_one_colour_in_all_plots(browser: Browser, recorded: Recorded, tmp_path: Path) -> None:
    """Also where some plots lack some models."""
    shown(browser, tmp_path, Question(files=(recorded.database,), by=("model",)))
    colours: dict[str, set[str]] = {}
    for entry in browser.all(".legend li[class^=s]"):
        colours.setdefault(entry.text, set()).add(entry.get_attribute("class") or "")
    assert len(colours) >= 5
    assert all(len(each) == 1 for each in colours.values()), colours


def test_it_is_dark_where_the_reader_prefers_that(browser: Browser, recorded: Recorded, tmp_path: Path) -> None:
    """Text stays readable on either ground."""
    shown(browser, tmp_path, Question(files=(recorded.database,)))
    for scheme, bright in (("light", True), ("dark", False)):
        browser.prefer(scheme)
        ground, ink = browser.run(
            "const s = getComputedStyle(document.body);"
            "return [s.backgroundColor, s.color].map((c) => c.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0))"
        )
        assert (ground > ink) == bright
        assert abs(ground - ink) > 380
    browser.prefer("light")


def test_a_comparison_comes_first(browser: Browser, recorded: Recorded, tmp_path: Path) -> None:
    """The table with who is better, then the ratios with their intervals, then curves of the two sides alone."""
    question = Question(files=(recorded.database,), compare=(side_of("model=gpt-4o"), side_of("model=gpt-4o-mini")))
    shown(browser, tmp_path, question)
    assert browser.texts("h2")[:2] == ["Comparison", "b over a"]
    assert "b is better" in browser.texts("td.better")
    assert len(browser.all(".equal")) == 1
    assert set(browser.texts(".plots .legend li")) >= {"a: model=gpt-4o", "b: model=gpt-4o-mini"}


def test_names_from_outside_are_text(browser: Browser, recorded: Recorded, tmp_path: Path) -> None:
    """A model may call itself a script; it is shown and not run, and no policy had to stop it."""
    path = tmp_path / "hostile.jsonl"
    escaped = HOSTILE.replace('"', '\\"')
    path.write_text(recorded.lines.read_text().replace('"gpt-4o"', f'"{escaped}"'))
    shown(browser, tmp_path, Question(files=(path,), by=("model",)))
    assert HOSTILE in browser.texts("td.name")
    assert not browser.all("img, script")
    assert browser.driver.title.startswith("Streams, ")


def test_it_needs_no_network(browser: Browser, recorded: Recorded, tmp_path: Path) -> None:
    """The page is one file: the browser asked for nothing else."""
    shown(browser, tmp_path, Question(files=(recorded.database,)))
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    policy = browser.one("meta[http-equiv]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
