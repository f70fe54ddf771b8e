"""Charts in SVG: no script, colours from the page's style."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement

from otel_tokenstream.analysis.statistics import quantile
from otel_tokenstream.analysis.units import shown, tick_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 34
SERIES = 8
"""Colours there are; a chart has no more lines."""

_MINUTE = 60_000.0  # ms
_STEPS = tuple(_MINUTE * each for each in (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1440))


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    logarithmic: bool = False

    def part(self, value: float) -> float:
        """Where on the axis, 0 to 1."""
        if self.logarithmic:
            low, high, value = math.log(self.low), math.log(self.high), math.log(max(value, self.low))
            return (value - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, unit: str = "") -> list[float]:
        """Return round values within the axis; times of a minute and more are round in minutes."""
        if unit == "ms" and self.high >= _MINUTE:
            return self._times()
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            wide = math.log10(self.high / self.low) > 2.5
            all_ticks = [factor * 10.0**power for power in powers for factor in ((1,) if wide else (1, 2, 5))]
            return [tick for tick in all_ticks if self.low <= tick <= self.high * 1.0001]
        rough = (self.high - self.low) / 4
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
        return [self.low + step * index for index in range(int((self.high - self.low) / step + 1.0001))]

    def _times(self) -> list[float]:
        if not self.logarithmic:
            step = next((each for each in _STEPS if (self.high - self.low) / each <= 5), _STEPS[-1])
            return [step * index for index in range(math.ceil(self.low / step), int(self.high / step) + 1)]
        wide = math.log10(self.high / self.low) > 2.5
        below = [factor * 10.0**power for power in range(-3, 5) for factor in ((1,) if wide else (1, 2, 5))]
        minutes = (1, 10, 60, 600) if wide else (1, 2, 5, 10, 30, 60, 120, 300, 600)
        times = [*(each for each in below if each < _MINUTE), *(each * _MINUTE for each in minutes)]
        return [each for each in times if self.low <= each <= self.high * 1.0001]


def logarithmic(values: Sequence[float]) -> Axis:
    """Around all values above 0."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = min(positive) / 1.15, max(positive) * 1.15
    return Axis(low, max(high, low * 4), logarithmic=True)


def linear(highest: float) -> Axis:
    return Axis(0, highest * 1.05 or 1.0)


@dataclass(frozen=True)
class Line:
    """Ascending values; ``series`` chooses the colour, the same one in every chart of a page."""

    name: str
    series: int
    values: Sequence[float]


@dataclass(frozen=True)
class Column:
    """Counts by kind at ``place``, counted in widths of a column from the left."""

    name: str
    place: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Ratio:
    """``kind`` names the colour."""

    name: str
    value: float
    low: float
    high: float
    kind: str


def shares(lines: Sequence[Line], unit: str, label: str) -> Element:
    """Which share of a line's values lies below a value."""
    axis = logarithmic([value for line in lines for value in line.values])
    chart = _chart(label)
    _grid_x(chart, axis, unit)
    _grid_y(chart, Axis(0, 1), "1", [0, 0.25, 0.5, 0.75, 0.95])
    for line in lines:
        steps = max(len(line.values) - 1, 1)
        points = [(_x(axis.part(value)), _y(rank / steps)) for rank, value in enumerate(line.values)]
        if len(points) > 1:
            drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            _add(chart, "polyline", points=drawn, **{"class": f"line s{line.series % SERIES}"})
        middle = quantile(line.values, 0.5)
        where = {"cx": _x(axis.part(middle)), "cy": _y(0.5)}
        at = _add(chart, "circle", **where, r=4, **{"class": f"dot s{line.series % SERIES}"})
        _add(at, "title").text = f"{line.name}: half below {shown(middle, unit)}"
    return chart


def stacked(columns: Sequence[Column], kinds: Sequence[str], label: str) -> Element:
    """``kinds`` from the ground up; they also name the colours."""
    axis = linear(max((sum(column.counts.values()) for column in columns), default=1))
    chart = _chart(label)
    _grid_y(chart, axis, "{stream}", [tick for tick in axis.ticks() if tick == int(tick)])
    room = (WIDTH - _LEFT - _RIGHT) / (max((column.place for column in columns), default=0) + 1)
    width = min(room * 0.82, 48)
    free_from = -math.inf
    for column in columns:
        x = _LEFT + room * (column.place + 0.5) - width / 2
        base = 0
        for kind in kinds:
            count = column.counts.get(kind, 0)
            if count:
                top, bottom = _y(axis.part(base + count)), _y(axis.part(base))
                size = {"x": x, "y": top, "width": width, "height": bottom - top}
                bar = _add(chart, "rect", **size, **{"class": f"outcome {kind}"})
                _add(bar, "title").text = f"{column.name}: {count} {kind}"
                base += count
        letters = len(column.name) * 3.6
        if x + width / 2 - letters >= free_from and x + width / 2 + letters <= WIDTH:
            _label(chart, x + width / 2, HEIGHT - _BOTTOM + 18, column.name, "middle")
            free_from = x + width / 2 + letters + 14
    return chart


def ratios(rows: Sequence[Ratio], label: str) -> Element:
    """Each b / a with its interval, around the line where both are equal."""
    ends = [end for row in rows for end in (row.low, row.value, row.high)]
    widest = max([1.25, *ends, *(1 / end for end in ends if end > 0)]) * 1.1
    axis = Axis(1 / widest, widest, logarithmic=True)
    height, left = 24 * len(rows) + 34, 190
    chart = _chart(label, height)

    def at(value: float) -> float:
        return left + (WIDTH - left - _RIGHT) * axis.part(value)

    for tick in sorted({1.0, *(tick for tick in axis.ticks() if not 0.7 < tick < 1.4)}):
        kind = "equal" if tick == 1 else "grid"
        _add(chart, "line", x1=at(tick), x2=at(tick), y1=4, y2=height - 28, **{"class": kind})
        _label(chart, at(tick), height - 12, f"{tick:g}", "middle")
    for index, row in enumerate(rows):
        y = 24 * index + 16
        _label(chart, left - 12, y + 4, row.name, "end")
        _add(chart, "line", x1=at(row.low), x2=at(row.high), y1=y, y2=y, **{"class": f"line {row.kind}"})
        dot = _add(chart, "circle", cx=at(row.value), cy=y, r=4.5, **{"class": f"dot {row.kind}"})
        _add(dot, "title").text = f"{row.name}: {row.value:.2f} ({row.low:.2f} to {row.high:.2f})"
    return chart


def bars(rows: Sequence[tuple[str, int, float, str]], label: str) -> Element:
    """One bar a row: its name, its colour, its length beside the others', and what to write behind it."""
    height = 22 * len(rows) + 8
    chart = _chart(label, height)
    longest = max((value for _, _, value, _ in rows), default=0) or 1
    for index, (name, series, value, behind) in enumerate(rows):
        y = 22 * index + 6
        _label(chart, 176, y + 12, name if len(name) <= 28 else f"{name[:27]}…", "end")
        length = (WIDTH - 330) * value / longest
        size = {"x": 184, "y": y, "width": max(length, 1), "height": 16, "rx": 2}
        bar = _add(chart, "rect", **size, **{"class": f"bar s{series % SERIES}"})
        _add(bar, "title").text = f"{name}: {behind}"
        _label(chart, 190 + length, y + 12, behind, "start")
    return chart


def _chart(label: str, height: int = HEIGHT) -> Element:
    attributes = {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "aria-label": label, "class": "chart"}
    return Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **attributes})


def _grid_x(chart: Element, axis: Axis, unit: str) -> None:
    for tick in axis.ticks(unit):
        x = _x(axis.part(tick))
        _add(chart, "line", x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM, **{"class": "grid"})
        _label(chart, x, HEIGHT - _BOTTOM + 18, tick_text(tick, unit), "middle")


def _grid_y(chart: Element, axis: Axis, unit: str, ticks: Sequence[float]) -> None:
    for tick in ticks:
        y = _y(axis.part(tick))
        _add(chart, "line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, **{"class": "grid"})
        text = f"{tick:.0%}" if unit == "1" else tick_text(tick, unit)
        _label(chart, _LEFT - 8, y + 4, text, "end")


def _label(chart: Element, x: float, y: float, text: str, anchor: str) -> None:
    _add(chart, "text", x=x, y=y, **{"text-anchor": anchor}).text = text


def _x(part: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * part


def _y(part: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * part


def _add(parent: Element, tag: str, **attributes: str | float) -> Element:
    written = {name: value if isinstance(value, str) else f"{value:g}" for name, value in attributes.items()}
    return SubElement(parent, tag, written)
