"""Asks the back ends for a dashboard's panels as Grafana does: same variables, steps and windows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import requests

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# Grafana rounds a step up to one of these, in seconds.
_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_session = requests.Session()
_session.trust_env = False


def seconds(text):
    """Return a duration of Grafana's in seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|[smhdw])", text))


@dataclass
class Asking:
    """One viewer of one dashboard: where the back ends are, from when to when, and the variables' values."""

    prometheus: str
    start: float
    end: float
    loki: str = ""
    tempo: str = ""
    variables: dict = field(default_factory=dict)
    data_source_interval: str = "15s"

    def dashboard(self, page):
        """Return every panel's answers, also those of collapsed rows, and the annotations."""
        panels = [inner for panel in page["panels"] for inner in (panel, *panel.get("panels", ()))]
        asked = {
            str(panel["id"]): {"panel": panel, "targets": [self.target(each, panel) for each in panel["targets"]]}
            for panel in panels
            if panel["type"] != "row"
        }
        return {"panels": asked, "annotations": self.annotations(page)}

    def target(self, target, panel):
        """Return a target with the answer to it."""
        language = {"prometheus": "promql", "loki": "logql", "tempo": "traceql"}[target["datasource"]["type"]]
        try:
            answer = getattr(self, f"_{language}")(target, panel)
        except (requests.RequestException, ValueError) as error:
            answer = {"error": str(error)}
        legend = self.filled(target.get("legendFormat", ""))
        return {**target, "language": language, "legendFormat": legend, "answer": answer}

    def annotations(self, page):
        """Return regions and moments to mark, with their colour."""
        found = []
        for each in page["annotations"]["list"]:
            answer = self._promql({**each, "range": True, "interval": each["step"]}, {"gridPos": {"w": 24}})
            colour = {"red": "#F2495C", "blue": "#5794F2"}.get(each["iconColor"], each["iconColor"])
            step = seconds(each["step"])
            for series in answer["result"]:
                times = [float(at) for at, _ in series["values"]]
                starts = [at for at in times if at - step not in times]
                for start in starts:
                    last = start
                    while last + step in times:
                        last += step
                    found.append({"time": start * 1000, "timeEnd": last * 1000, "color": colour})
        return found

    def step(self, target, panel):
        """Return (step, rate interval) in seconds, for the points that fit on the panel."""
        least = seconds(self.filled(target.get("interval") or self.data_source_interval))
        points = max(1, panel["gridPos"]["w"] * 1600 // 24)
        exact = (self.end - self.start) / points
        rounded = next((step for step in _STEPS if step >= exact * 0.75), exact)
        step = max(least, rounded)
        return step, max(step + least, 4 * least)

    def filled(self, text, **more):
        """Put the variables' values into a text."""
        values = {**self.variables, **more}

        def value(match):
            name = match.group(1) or match.group(2)
            return values.get(name, match.group(0))

        return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, text)

    def queries(self, page):
        """Yield (panel, target) of what Grafana asks at once: rows that are open."""
        for panel in page["panels"]:
            for target in panel.get("targets", ()):
                yield panel, target

    def _promql(self, target, panel):
        step, rate = self.step(target, panel)
        span = self.end - self.start
        built_in = {"__rate_interval": f"{rate:g}s", "__interval": f"{step:g}s", "__range": f"{span:.0f}s"}
        text = self.filled(target["expr"], **built_in)
        if target.get("range"):
            # Grafana starts and ends on multiples of the step.
            aligned = {"start": self.start // step * step, "end": self.end // step * step}
            answer = _get(f"{self.prometheus}/api/v1/query_range", query=text, step=step, **aligned)["data"]
            return {**answer, "exemplars": self._exemplars(text) if target.get("exemplar") else []}
        return _get(f"{self.prometheus}/api/v1/query", query=text, time=self.end)["data"]

    def _exemplars(self, text):
        found = _get(f"{self.prometheus}/api/v1/query_exemplars", query=text, start=self.start, end=self.end)["data"]
        return [
            {"time": each["timestamp"] * 1000, "value": float(each["value"])}
            for series in found
            for each in series["exemplars"]
        ]

    def _logql(self, target, _panel):
        step = self.filled(target.get("step", "1s"))
        parameters = {"start": int(self.start * 1e9), "end": int(self.end * 1e9), "direction": "forward"}
        parameters |= {"limit": target.get("maxLines", 5000), "step": step}
        return _get(f"{self.loki}/loki/api/v1/query_range", query=self.filled(target["expr"]), **parameters)["data"]

    def _traceql(self, target, _panel):
        text = self.filled(target["query"])
        if re.fullmatch(r"[0-9a-f]{1,32}", text):
            return _get(f"{self.tempo}/api/traces/{text}")
        if not text.startswith("{"):
            return {"traces": []}
        limits = {"limit": target["limit"], "spss": target["spss"]}
        found = _get(f"{self.tempo}/api/search", q=text, start=int(self.start), end=int(self.end), **limits)
        return {"traces": [], **found}


def _get(url, **parameters):
    answer = _session.get(url, params=parameters, timeout=60)
    if answer.status_code >= 400:
        msg = f"{answer.status_code}: {answer.text[:400]}"
        raise ValueError(msg)
    return answer.json()
