"""The Prometheus alert rules as Grafana-managed ones, for those who alert from Grafana."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

_HEAD = """\
# Generated from the Prometheus rules beside it; shipped unloaded, or everyone would be paged twice.
# To alert from Grafana instead: take streams.yaml, telemetry.yaml and stack.yaml out of Prometheus's rules,
# keep objectives.yaml there, and mount this file into /etc/grafana/provisioning/alerting/. Where runbooks do
# not stand at http://localhost:8090, change their address here.
"""
FILES = ("streams.yaml", "telemetry.yaml", "stack.yaml")
# Grafana knows no labels of Prometheus's own; its address may or may not end in a slash.
_ADDRESSES = {
    "{{ $externalLabels.grafana_url }}": '{{ reReplaceAll "/$" "" externalURL }}',
    "{{ $externalLabels.runbooks_url }}": "http://localhost:8090",
}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def build(alerts: Path) -> str:
    """Return the provisioning file for the alert rules in a directory."""
    groups = [
        {
            "orgId": 1,
            "name": group["name"],
            "folder": "otel-tokenstream",
            # Grafana evaluates every 10 s or a multiple of it.
            "interval": f"{max(10, _seconds(group['interval']) // 10 * 10)}s",
            "rules": [_rule(rule) for rule in group["rules"]],
        }
        for name in FILES
        for group in yaml.safe_load((alerts / name).read_text())["groups"]
    ]
    body: str = yaml.safe_dump({"apiVersion": 1, "groups": groups}, sort_keys=False, width=1000, allow_unicode=True)
    return _HEAD + body


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    return {
        "uid": f"tokenstream-{rule['alert']}"[:40],
        "title": rule["alert"],
        "condition": "firing",
        "data": [
            _node("query", "prometheus", {"expr": rule["expr"], "instant": True, "range": False}),
            # A rule of Prometheus fires on whatever it returns, also on a value of 0.
            _node(
                "any",
                "__expr__",
                {"type": "math", "expression": "is_number($query) || is_nan($query) || is_inf($query)"},
            ),
            _node(
                "firing",
                "__expr__",
                {
                    "type": "threshold",
                    "expression": "any",
                    "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
                },
            ),
        ],
        "for": rule.get("for", "0s"),
        "keepFiringFor": rule.get("keep_firing_for", "0s"),
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": rule["labels"],
        # In Grafana $value is a description of all nodes; the number is in $values.
        "annotations": {name: _template(text) for name, text in rule["annotations"].items()},
    }


def _template(text: str) -> str:
    text = text.replace("$value ", "$values.query.Value ")
    for of_prometheus, of_grafana in _ADDRESSES.items():
        text = text.replace(of_prometheus, of_grafana)
    return text


def _node(name: str, source: str, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": name,
        "datasourceUid": source,
        "relativeTimeRange": {"from": 600, "to": 0},
        "model": {"refId": name, **model},
    }


def _seconds(interval: str) -> int:
    return int(interval[:-1]) * _SECONDS[interval[-1]]
