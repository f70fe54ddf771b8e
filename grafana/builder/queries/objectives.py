"""PromQL for objectives: recorded series where now is asked for, histograms where the chosen time is."""

from __future__ import annotations

from grafana.builder.objective_rules import EACH
from grafana.builder.promql import CALLS, MODEL, SERVICE
from grafana.builder.queries.terms import FAILED, FIRST_TOKEN, SEEN, STREAMS, WAIT
from grafana.objectives import shipped

OF_MODELS = f'{SERVICE},{MODEL}=~"$model"'
_BOUNDS = {"first_token": FIRST_TOKEN, "wait": WAIT}


def late_share(kind: str, by: str = "", window: str = "5m") -> str:
    """Return the share of streams that missed their objective, from the recorded series."""
    return f"{_summed(f'tokenstream:{kind}_late:rate{window}', by)} / {_summed(_counted(kind, window), by)}"


def allowed_share(kind: str, by: str = "", window: str = "5m") -> str:
    """Return the share that may miss it: the mean over the models, weighted by their streams."""
    counted = f"tokenstream:{kind}_streams:rate{window}{{{OF_MODELS}}}"
    allowed = f"{counted} * (1 - tokenstream:{kind}_objective:share)"
    return f"sum{_grouped(by)} ({allowed}) / {_summed(_counted(kind, window), by)}"


def burn(kind: str, by: str = "", window: str = "5m") -> str:
    """Return how many times as many streams are late as may be."""
    counted = f"tokenstream:{kind}_streams:rate{window}{{{OF_MODELS}}}"
    allowed = f"sum{_grouped(by)} ({counted} * (1 - tokenstream:{kind}_objective:share))"
    return f"{_summed(f'tokenstream:{kind}_late:rate{window}', by)} / {allowed}"


def strictest(kind: str) -> str:
    """Return the shortest time that one of the chosen models is allowed."""
    return f"min(tokenstream:{kind}_objective:seconds{{{OF_MODELS}}})"


def in_time(kind: str, over: str) -> str:
    """Return the share of streams within their objectives; failed ones that never gave a token were late."""
    return f"sum({_good(kind, over)}) / sum({_all(kind, over)})"


def budget_left(kind: str, over: str) -> str:
    """Return what is left of the streams that may be late, as a share of them; below 0 the objective is missed."""
    allowed = f"sum(({_all(kind, over)}) * on ({EACH}) group_left () (1 - tokenstream:{kind}_objective:share))"
    return f"1 - (sum({_all(kind, over)}) - sum({_good(kind, over)})) / {allowed}"


def _good(kind: str, over: str) -> str:
    objectives = shipped()
    counted = [
        f"sum by ({EACH}) (increase({_BOUNDS[kind]}_bucket{{{_and(CALLS, each.matchers, within.le)}}}[{over}]))"
        for each in objectives.ordered
        for within in [{"first_token": each.first_token, "wait": each.wait}[kind]]
    ]
    return " or ".join(counted)


def _all(kind: str, over: str) -> str:
    timed = f"sum by ({EACH}) (increase({_BOUNDS[kind]}_count{{{CALLS}}}[{over}]))"
    if kind != "first_token":
        return timed
    failed = f'sum by ({EACH}) (increase({STREAMS}{{{FAILED},{SEEN}="false"}}[{over}]))'
    return f"({timed} or 0 * {failed}) + ({failed} or 0 * {timed})"


def _counted(kind: str, window: str) -> str:
    return f"tokenstream:{kind}_streams:rate{window}"


def _summed(name: str, by: str) -> str:
    return f"sum{_grouped(by)} ({name}{{{OF_MODELS}}})"


def _grouped(by: str) -> str:
    return f" by ({by})" if by else ""


def _and(*matchers: str) -> str:
    return ",".join(each for each in matchers if each)
