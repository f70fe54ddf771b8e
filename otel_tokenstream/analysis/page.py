"""The report as one HTML file: no script, nothing loaded, light or dark as the reader prefers."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from otel_tokenstream.analysis import svg
from otel_tokenstream.analysis.measures import MEASURES
from otel_tokenstream.analysis.tables import STATISTICS, Table, overview, tables_of
from otel_tokenstream.analysis.units import printable, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.analysis.comparison import Comparison
    from otel_tokenstream.analysis.groups import Group
    from otel_tokenstream.analysis.report import Report

_OUTCOMES = ("completed", "closed", "cancelled", "abandoned", "failed")
_BETTER = {"a is better", "b is better"}
_CURVES = {
    "first_token_ms": "How long until the first token",
    "output_rate": "Tokens a second",
    "gap_p95_ms": "How even: the 95th percentile of each stream's gaps",
    "duration_ms": "How long in all",
}


def style() -> str:
    return (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def content_security_policy() -> str:
    """Nothing may be loaded and no script may run; of styles only the page's own."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def as_html(report: Report, back: str = "") -> str:
    """Written by a serialiser, which escapes every text: names of models and errors come from outside.

    ``back`` is an address to which a link leads from the top of the page.
    """
    html = Element("html", {"lang": "en"})
    head = SubElement(html, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": content_security_policy()})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    _text(head, "title", f"Streams, {report.start} to {report.end}")
    _text(head, "style", style())
    main = SubElement(SubElement(html, "body"), "main")
    if back:
        SubElement(SubElement(main, "p"), "a", {"href": back}).text = "← Streams"
    _text(main, "h1", "How the streams behaved")
    for line in overview(report):
        _text(main, "p", line, "about")
    _tiles(main, report.total)
    tables = tables_of(report)
    if report.comparison:
        _table(main, tables.pop(0))
    _plots(main, report)
    for table in tables:
        _table(main, table)
    for note in report.notes:
        _text(main, "p", f"Note: {note}", "note")
    _text(main, "footer", f"otel-tokenstream report, made {report.made}.")
    return f"<!doctype html>\n{tostring(html, encoding='unicode', method='html')}\n"


def _tiles(main: Element, total: Group) -> None:
    first, rate, tokens, cost = (
        total.measures[name] for name in ("first_token_ms", "output_rate", "output_tokens", "cost_usd")
    )
    tiles = SubElement(main, "section", {"class": "tiles"})
    stalled = total.stalled_streams / total.stall_known if total.stall_known else None
    for value, name in (
        (str(total.streams), "streams"),
        (shown(total.failed_share, "1"), "failed"),
        (shown(first.p50 if first else None, "ms"), "first token, median"),
        (shown(first.p95 if first else None, "ms"), "first token, p95"),
        (shown(rate.p50 if rate else None, "{token}/s"), "tokens/s, median"),
        (shown(stalled, "1"), "stalled"),
        (shown(tokens.total if tokens else None, "{token}"), "output tokens"),
        (shown(cost.total if cost else None, "USD"), "cost"),
    ):
        tile = SubElement(tiles, "div", {"class": "tile"})
        _text(tile, "b", value)
        _text(tile, "span", name)


def _plots(main: Element, report: Report) -> None:
    sides = _sides(report)
    plots = SubElement(main, "section", {"class": "plots"})
    if report.comparison:
        _ratios(plots, report.comparison)
    for measure, title in _CURVES.items():
        lines = [
            svg.Line(printable(name), series, group.curves[measure])
            for series, (name, group) in enumerate(sides.items())
            if group.curves.get(measure)
        ]
        if lines:
            panel = _panel(plots, title)
            panel.append(svg.shares(lines, MEASURES[measure].unit, f"{title}: share of streams below a value"))
            _legend(panel, [(f"s{line.series}", line.name) for line in lines])
            _text(panel, "p", "Share of streams below a value; the dot is the median.", "note")
    stalls = list(_stall_rows(sides))
    if stalls:
        panel = _panel(plots, "Streams that stalled")
        panel.append(svg.bars(stalls, "Share of streams that stalled"))
        _text(panel, "p", "Share of streams with a stall, and the longest time one stream stalled in all.", "note")
    _over(plots, report)
    left_out = len(report.groups) - len(sides)
    if left_out > 0 and not report.comparison:
        _text(main, "p", f"The plots show the {svg.SERIES} largest groups of {len(report.groups)}.", "note")


def _ratios(plots: Element, comparison: Comparison) -> None:
    rows = [
        svg.Ratio(
            f"{each.title}{STATISTICS[each.statistic]}",
            each.ratio,
            each.ratio_interval.low,
            each.ratio_interval.high,
            {"a": "s0", "b": "s1", "differs": "known"}.get(each.better, "unknown"),
        )
        for each in comparison.differences
        if each.ratio and each.ratio_interval and each.ratio_interval.low > 0
    ]
    if rows:
        panel = _panel(plots, "b over a")
        panel.append(svg.ratios(rows, "Ratios of b to a with their intervals"))
        _legend(panel, [("s0", "a is better"), ("s1", "b is better"), ("unknown", "no difference shown, or too few")])


def _sides(report: Report) -> Mapping[str, Group]:
    """Return the groups that plots show: the two sides of a comparison, else the largest groups."""
    if report.comparison:
        a, b = report.comparison.names
        return {f"a: {a}": report.comparison.a, f"b: {b}": report.comparison.b}
    return {group.name: group for group in report.groups[: svg.SERIES]}


def _stall_rows(sides: Mapping[str, Group]) -> Iterator[tuple[str, int, float, str]]:
    if any(group.stalls for group in sides.values()):
        for series, (name, group) in enumerate(sides.items()):
            if group.stall_known:
                share = group.stalled_streams / group.stall_known
                longest = group.measures["stall_total_ms"]
                told = f", up to {shown(longest.max, 'ms')}" if longest else ""
                yield printable(name), series, share, f"{shown(share, '1')}{told}"


def _over(plots: Element, report: Report) -> None:
    over = report.over_time
    kinds = [*_OUTCOMES, *(kind for kind in report.total.outcomes if kind not in _OUTCOMES)]
    kinds = [kind for kind in kinds if kind in report.total.outcomes]
    same_day = report.start[:10] == report.end[:10]
    first = over.buckets[0].start_ns // 10**9
    columns = [
        svg.Column(
            _clock(str(bucket.key["start"]), over.step_s, same_day=same_day),
            index if over.step_s is None else bucket.start_ns // 10**9 // over.step_s - first // over.step_s,
            bucket.outcomes,
        )
        for index, bucket in enumerate(over.buckets)
    ]
    panel = _panel(plots, "Sessions and how their streams ended" if over.step_s is None else "How streams ended")
    panel.append(svg.stacked(columns, kinds, "Streams by outcome over time"))
    _legend(panel, [(kind if kind in _OUTCOMES else "outcome", kind) for kind in kinds])
    step = "one column a session" if over.step_s is None else f"by {over.step}"
    _text(panel, "p", f"By start in UTC, {step}.", "note")


def _clock(start: str, step_s: int | None, *, same_day: bool) -> str:
    day, clock = start[5:10], start[11:16] if step_s is None or step_s >= 60 else start[11:19]
    if step_s == 86400:
        return day
    return clock if same_day else f"{day} {clock}"


def _panel(parent: Element, title: str, kind: str = "panel") -> Element:
    panel = SubElement(parent, "section", {"class": kind})
    _text(panel, "h2", title)
    return panel


def _legend(panel: Element, entries: Sequence[tuple[str, str]]) -> None:
    legend = SubElement(panel, "ul", {"class": "legend"})
    for kind, name in entries:
        _text(SubElement(legend, "li", {"class": kind}), "span", name)


def _table(main: Element, table: Table) -> None:
    panel = _panel(main, table.title, "panel wide")
    drawn = SubElement(SubElement(panel, "div", {"class": "scroll"}), "table")
    heads = SubElement(SubElement(drawn, "thead"), "tr")
    for index, name in enumerate(table.columns):
        _text(heads, "th", name, "name" if index < table.names else "")
    body = SubElement(drawn, "tbody")
    for row in table.rows:
        line = SubElement(body, "tr")
        for index, cell in enumerate(row):
            kinds = ["name"] if index < table.names else []
            kinds += ["better"] if cell in _BETTER else []
            _text(line, "td", cell, " ".join(kinds))
    if table.note:
        _text(panel, "p", table.note, "note")


def _text(parent: Element, tag: str, text: str, kind: str = "") -> Element:
    element = SubElement(parent, tag, {"class": kind} if kind else {})
    element.text = text if tag == "style" else printable(text)
    return element
