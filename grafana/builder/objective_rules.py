"""The recording rules that measure streams against their objectives, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.builder.names import label, metric
from grafana.builder.promql import MODEL
from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.analysis.objectives import Objective, Objectives, Within

_HEAD = """\
# Generated from grafana/objectives.yaml by make dashboards. Loaded by Prometheus.
#
# tokenstream:<kind>_streams:rate<window>        streams a second that count, by service and model
# tokenstream:<kind>_late:rate<window>           those of them that missed their objective
# tokenstream:<kind>_late:ratio_rate<window>     their share, by service
# tokenstream:<kind>_objective:seconds, :share   the objective itself, by service and model
# tokenstream:<kind>_objective:page, :ticket     the late share above which somebody is told, by service and model
# tokenstream:<kind>_page:ratio_rate<window>     the same by service: the mean over its models, weighted by streams
# tokenstream:<kind>_late:page, :ticket          the late share of those services and models of which somebody is told
# In a chain of "or" the first override that matches counts, as in the file.

groups:
"""
EACH = f"service_name, {MODEL}"
FAST, SLOW = ("10m", "5m"), ("6h", "30m")
_SECONDS = {"10m": 600, "6h": 21600}
# A handful of late streams is nobody's incident.
LATE_STREAMS = {"page": 5, "ticket": 10}
_STREAMS = metric(signals.STREAMS)
_FAILED_UNSEEN = f'{label(signals.OUTCOME)}="failed",{label(signals.FIRST_TOKEN_SEEN)}="false"'


def build(objectives: Objectives) -> str:
    """Return the file of recording rules."""
    ended = f"sum by ({EACH}) (rate({_STREAMS}[10m]))"
    shares = [(f"tokenstream:{name}_objective:share", _of_each(objectives, ended, value)) for name, value in _SHARES]
    fast = [rule for kind in _BOUNDS for rule in (*_late(kind, objectives, FAST), *_told(kind, objectives, "page"))]
    slow = [
        rule
        for kind in _BOUNDS
        for rule in (*_late(kind, objectives, SLOW), *_told(kind, objectives, "ticket"), *_objective(kind, objectives))
    ]
    return _HEAD + _group("fast", "15s", [*fast, *shares]) + _group("slow", "1m", slow)


def _late(kind: str, objectives: Objectives, windows: tuple[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the rules that count streams and late ones, each as its name and its expression."""
    histogram, within = _BOUNDS[kind]
    for window in windows:
        counted = f"tokenstream:{kind}_streams:rate{window}"
        yield counted, _counted(kind, histogram, window)
        good = _first_of(
            f"sum by ({EACH}) (rate({histogram}_bucket{{{_and(each.matchers, within(each).le)}}}[{window}]))"
            for each in objectives.ordered
        )
        yield f"tokenstream:{kind}_late:rate{window}", f"{counted} - ({good}\nor 0 * {counted})"
        yield (
            f"tokenstream:{kind}_late:ratio_rate{window}",
            f"sum by (service_name) (tokenstream:{kind}_late:rate{window}) / sum by (service_name) ({counted})",
        )


def _told(kind: str, objectives: Objectives, severity: str) -> Iterator[tuple[str, str]]:
    """Yield the rules for the share of late streams above which there is a page or a ticket."""
    _, within = _BOUNDS[kind]
    windows = {"page": FAST, "ticket": SLOW}[severity]
    above = f"tokenstream:{kind}_objective:{severity}"
    widest = f"tokenstream:{kind}_streams:rate{windows[0]}"
    yield above, _of_each(objectives, widest, lambda each: getattr(within(each), f"{severity}_above"))
    for window in windows:
        counted = f"tokenstream:{kind}_streams:rate{window}"
        yield (
            f"tokenstream:{kind}_{severity}:ratio_rate{window}",
            f"sum by (service_name) ({counted} * {above}) / sum by (service_name) ({counted})",
        )
    late = [f"tokenstream:{kind}_late:rate{window}" for window in windows]
    over = [f"{each} / {each.replace('_late:', '_streams:')} > {above}" for each in late]
    enough = f"{late[0]} * {_SECONDS[windows[0]]} >= {LATE_STREAMS[severity]}"
    yield f"tokenstream:{kind}_late:{severity}", "\nand ".join([*over, enough])


def _objective(kind: str, objectives: Objectives) -> Iterator[tuple[str, str]]:
    _, within = _BOUNDS[kind]
    widest = f"tokenstream:{kind}_streams:rate{SLOW[0]}"
    yield f"tokenstream:{kind}_objective:seconds", _of_each(objectives, widest, lambda each: within(each).seconds)
    yield f"tokenstream:{kind}_objective:share", _of_each(objectives, widest, lambda each: within(each).share)


_SHARES: tuple[tuple[str, Callable[[Objective], float]], ...] = (
    ("failed", lambda objective: objective.failed),
    ("given_up", lambda objective: objective.given_up),
)
_BOUNDS: dict[str, tuple[str, Callable[[Objective], Within]]] = {
    "first_token": (metric(signals.TIME_TO_FIRST_TOKEN), lambda objective: objective.first_token),
    "wait": (metric(signals.WAIT_MAX), lambda objective: objective.wait),
}


def _counted(kind: str, histogram: str, window: str) -> str:
    """Return the streams that are judged, by service and model.

    Those that failed before any token are in no histogram of first tokens, and a model that only fails
    has no such histogram at all: both must count.
    """
    timed = f"sum by ({EACH}) (rate({histogram}_count[{window}]))"
    if kind != "first_token":
        return timed
    failed = f"sum by ({EACH}) (rate({_STREAMS}{{{_FAILED_UNSEEN}}}[{window}]))"
    return f"({timed} or 0 * {failed})\n+ ({failed} or 0 * {timed})"


def _of_each(objectives: Objectives, seen: str, value: Callable[[Objective], float]) -> str:
    """Return a value for each service and model that is seen, by the first objective that covers it."""
    return _first_of(f"0 * {_selected(seen, each.matchers)} + {value(each):g}" for each in objectives.ordered)


def _selected(expression: str, matchers: str) -> str:
    """Put matchers into an expression with one selector."""
    if not matchers:
        return expression
    if "[" in expression:
        return expression.replace("[", f"{{{matchers}}}[", 1)
    return f"{expression}{{{matchers}}}"


def _first_of(expressions: Iterator[str]) -> str:
    return "\nor ".join(expressions)


def _and(*matchers: str) -> str:
    return ",".join(each for each in matchers if each)


def _group(name: str, interval: str, rules: list[tuple[str, str]]) -> str:
    head = f"  - name: tokenstream-objectives-{name}\n    interval: {interval}\n    rules:\n"
    return head + "".join(_written(record, expression) for record, expression in rules)


def _written(record: str, expression: str) -> str:
    body = "".join(f"          {line}\n" for line in expression.splitlines())
    return f"      - record: {record}\n        expr: |\n{body}"
