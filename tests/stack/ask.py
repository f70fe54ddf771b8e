"""Asks the real back ends, as Grafana would."""

from __future__ import annotations

import re
import time

import requests
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

_session = requests.Session()
_session.trust_env = False  # a proxy for the internet must not be asked for this machine


class RefusedError(AssertionError):
    """A back end says that a query is wrong."""


def get(url, **parameters):
    answer = _session.get(url, params=parameters, timeout=30)
    if answer.status_code >= 400:
        msg = f"{answer.status_code} {answer.text[:500]}\nfor {parameters}"
        raise RefusedError(msg)
    return answer


def promql(base, text, at=None):
    """Return [(labels, value)] of an instant query; NaN counts as nothing."""
    data = get(f"{base}/api/v1/query", query=text, time=at or time.time()).json()["data"]["result"]
    if isinstance(data, list) and data and not isinstance(data[0], dict):
        return [({}, float(data[1]))]
    return [
        (each["metric"], float(each["value"][1]) if "value" in each else each["histogram"][1])
        for each in data
        if "histogram" in each or each["value"][1] != "NaN"
    ]


def exemplars(base, text, since):
    data = get(f"{base}/api/v1/query_exemplars", query=text, start=since, end=time.time() + 1).json()["data"]
    return [(each["seriesLabels"], exemplar) for each in data for exemplar in each["exemplars"]]


def alerts(base):
    """Return {(alertname, service or other subject): state} of Prometheus's rule engine."""
    found = get(f"{base}/api/v1/alerts").json()["data"]["alerts"]
    return {(each["labels"]["alertname"], _subject(each["labels"])): each["state"] for each in found}


def alertmanager(base):
    found = get(f"{base}/api/v2/alerts", active="true", silenced="true", inhibited="true").json()
    return {(each["labels"]["alertname"], _subject(each["labels"])) for each in found}


def _subject(labels):
    return next((labels[name] for name in ("service_name", "exporter", "receiver", "reason") if name in labels), "")


def traceql(base, text, since):
    """Return the traces a search finds, each with the attributes it selects."""
    # Tempo answers from its recent data when the end lies before now.
    found = get(f"{base}/api/search", q=text, start=int(since) - 60, end=int(time.time()) + 60, limit=200, spss=100)
    return found.json().get("traces", [])


def trace(base, trace_id):
    """Return a trace's spans as OTLP, or None."""
    answer = _session.get(f"{base}/api/traces/{trace_id}", headers={"Accept": "application/protobuf"}, timeout=30)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return TracesData.FromString(answer.content)


def logql(base, text, since, kind="query_range", step="1s"):
    found = get(
        f"{base}/loki/api/v1/{kind}",
        query=text,
        start=int((since - 60) * 1e9),
        end=int((time.time() + 5) * 1e9),
        limit=5000,
        step=step,
        direction="forward",
    )
    return found.json()["data"]["result"]


def fill(text, **values):
    """Put values for Grafana's variables into a query; an unknown variable is an error."""
    # Wide, because on a busy machine a test may come minutes after what it looks for.
    values = {"__rate_interval": "300s", "__range": "1800s", "__interval": "15s", **values}

    def value(match):
        name = match.group(1) or match.group(2)
        if name.isdigit():  # of label_replace
            return match.group(0)
        if name not in values:
            msg = f"the query names ${name}, which no dashboard sets: {text}"
            raise AssertionError(msg)
        return values[name]

    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", value, text)
