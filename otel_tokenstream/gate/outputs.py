"""A decision for people, for continuous integration and for programs: text, Markdown, JUnit XML, JSON."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.units import duration, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_tokenstream.gate.decision import Check, Decision

VERSION = 1
"""Of the JSON's shape; raised when something in it changes its meaning or goes."""

_COLUMNS = ("verdict", "selection", "limit", "allowed", "measured", "interval", "streams")
_SIGNS = {"pass": "✅ pass", "fail": "❌ fail", "inconclusive": "❔ inconclusive"}


def as_text(decision: Decision, notes: Sequence[str] = ()) -> str:
    """Return a table with a sentence below for each check that did not pass."""
    rows = [_COLUMNS, *(_row(check) for check in decision.checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    reasons = [f"{check.table}, {check.key}: {check.reason}." for check in decision.checks if check.verdict != "pass"]
    parts = [_headline(decision), "\n".join(lines), *(["\n".join(reasons)] if reasons else [])]
    parts += [f"Note: {note}" for note in (*_left_out(decision), *notes)]
    return "\n\n".join(printable_lines(part) for part in parts) + "\n"


def as_markdown(decision: Decision, notes: Sequence[str] = ()) -> str:
    """Return a comment for a pull request."""
    lines = [f"### Latency gate: {_SIGNS[decision.verdict]}", "", _headline(decision), ""]
    lines += ["| " + " | ".join(_COLUMNS) + " | reason |", "|" + " --- |" * (len(_COLUMNS) + 1)]
    for check in decision.checks:
        cells = (_SIGNS[check.verdict], *_row(check)[1:], "" if check.verdict == "pass" else check.reason)
        lines.append("| " + " | ".join(_escaped(cell) for cell in cells) + " |")
    lines += ["", *(f"> {_escaped(note)}" for note in (*_left_out(decision), *notes))]
    return "\n".join(lines).rstrip() + "\n"


def as_junit(decision: Decision) -> str:
    """Return JUnit XML: a failed check is a failure, an inconclusive one is skipped with its reason."""
    suite = ET.Element(
        "testsuite",
        name="otel-tokenstream gate",
        tests=str(len(decision.checks)),
        failures=str(sum(check.verdict == "fail" for check in decision.checks)),
        skipped=str(sum(check.verdict == "inconclusive" for check in decision.checks)),
    )
    for check in decision.checks:
        case = ET.SubElement(suite, "testcase", classname=_xml_text(check.table), name=check.key)
        told = _xml_text(f"{_measured(check)}, allowed {_allowed(check)}: {check.reason}")
        if check.verdict != "pass":
            ET.SubElement(case, "failure" if check.verdict == "fail" else "skipped", message=told)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_json(
    decision: Decision, sides: Mapping[str, str | None], environment: Mapping[str, Any], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what json.dumps takes: durations in ms, shares and points from 0 to 1; what was not measured is null."""
    told = asdict(decision)
    for check in told["checks"]:
        if check["evidence"] is not None:
            check["evidence"]["against"] = round(check["evidence"]["against"], 6)
            check["evidence"]["for_it"] = round(check["evidence"]["for_it"], 6)
    return {"version": VERSION, **told, "sides": dict(sides), "environment": dict(environment), "notes": list(notes)}


def printable_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def _headline(decision: Decision) -> str:
    streams = f"{decision.candidate_streams} streams"
    if decision.baseline_streams is not None:
        streams += f" against {decision.baseline_streams}"
    counts = ", ".join(
        f"{number} {verdict}"
        for verdict in ("fail", "inconclusive", "pass")
        if (number := sum(check.verdict == verdict for check in decision.checks))
    )
    return f"{decision.verdict}: {counts} of {len(decision.checks)} checks over {streams}, at {decision.level:.0%}"


def _row(check: Check) -> tuple[str, ...]:
    count = "-" if check.evidence is None else str(check.evidence.count)
    return (check.verdict, check.table, check.key, _allowed(check), _measured(check), _interval(check), count)


def _allowed(check: Check) -> str:
    sign = "≥" if check.key == "goodput" else "≤"
    return f"{sign} {_shown(check.bound, check.unit)}"


def _measured(check: Check) -> str:
    return "-" if check.evidence is None else _shown(check.evidence.value, check.unit)


def _interval(check: Check) -> str:
    interval = check.evidence.interval if check.evidence is not None else None
    return f"{_shown(interval.low, check.unit)} to {_shown(interval.high, check.unit)}" if interval else "-"


def _shown(value: float, unit: str) -> str:
    if unit == "ms":
        return duration(value)
    if unit == "share":
        return f"{value:.1%}"
    return f"{value * 100:+.1f} {'%' if unit == 'relative' else 'points'}"


def _left_out(decision: Decision) -> list[str]:
    return [
        f"{check.left_out} streams of {check.table} are not in {check.key}: it was not measured of them"
        for check in decision.checks
        if check.left_out
    ]


def _escaped(text: str) -> str:
    return printable(text).replace("|", "\\|").replace("<", "&lt;")


def _xml_text(text: str) -> str:
    """XML has no place for control characters, not even escaped."""
    return printable(text)
