"""The shipped configuration files, read once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "grafana/dashboards").glob("*.json"))}
LAYERS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "collector-config").glob("*.yaml"))}
RULES = {
    name: yaml.safe_load((ROOT / f"grafana/alerts/{name}.yaml").read_text())
    for name in ("objectives", "streams", "telemetry", "stack")
}
ALERTS = [rule for file in RULES.values() for group in file["groups"] for rule in group["rules"] if "alert" in rule]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def panels(dashboard):
    """Return every panel that is no row, also those inside collapsed rows."""
    found = [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", ()))]
    return [panel for panel in found if panel["type"] != "row"]


def strings(value):
    """Yield every string in a piece of JSON."""
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def variables_named(text):
    """Return the names of variables in a text: $name, ${name} and ${name:format}."""
    return set(re.findall(r"\$\{?([A-Za-z_]\w*)", text))
