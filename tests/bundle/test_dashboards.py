"""The dashboards as files: current, complete and without dead references."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
import yaml
from bundle import ALERTS, DASHBOARDS, ROOT, panels, strings, variables_named

from grafana.builder.__main__ import generated
from grafana.builder.names import metrics_in, objectives
from grafana.builder.panels import UIDS
from otel_tokenstream import signals

EACH = pytest.mark.parametrize("name", DASHBOARDS)
BUILT_IN = {"__all", "__rate_interval", "__range", "__interval", "__url_time_range", "__data", "__value", "__field"}


def test_generated_files_are_up_to_date():
    """What is committed is what the builder writes today."""
    stale = [path.name for path, text in generated().items() if path.read_text() != text]
    assert not stale, f"run make dashboards: {stale}"


@pytest.mark.parametrize("signal", signals.METRICS)
def test_every_metric_is_on_a_dashboard(signal):
    """A metric that nobody shows is a metric whose loss nobody notices."""
    queries = [text for page in DASHBOARDS.values() for text in strings([p["targets"] for p in panels(page)])]
    assert any(signal in metrics_in(text) for text in queries)


def test_uids_are_fixed():
    """Links and bookmarks survive a new version."""
    assert {page["uid"] for page in DASHBOARDS.values()} == set(UIDS.values())


@EACH
def test_data_sources_are_variables_that_default_to_provisioned_ones(name):
    """A dashboard works with the provisioned sources at once and with others by choice."""
    provisioned = yaml.safe_load((ROOT / "grafana/provisioning/datasources/stack.yaml").read_text())["datasources"]
    known = {source["uid"]: source["type"] for source in provisioned}
    page = DASHBOARDS[name]
    chosen = {v["name"]: v for v in page["templating"]["list"] if v["type"] == "datasource"}
    assert {variable["current"]["value"]: variable["query"] for variable in chosen.values()} == known
    for panel in panels(page):
        for source in [panel["datasource"], *(target["datasource"] for target in panel["targets"])]:
            if source["uid"] != "-- Mixed --":
                assert chosen[source["uid"][2:-1]]["query"] == source["type"]


@EACH
def test_every_variable_named_is_defined(name):
    """A query with an unknown variable would ask for its name."""
    page = DASHBOARDS[name]
    defined = {variable["name"] for variable in page["templating"]["list"]}
    assert {used for text in strings(page) for used in variables_named(text)} <= defined | BUILT_IN


@EACH
def test_links_lead_to_dashboards_and_keep_time_and_filters(name):
    """Every link names a dashboard of ours, variables that it has, and carries the time range."""
    pages = {page["uid"]: {v["name"] for v in page["templating"]["list"]} for page in DASHBOARDS.values()}
    for text in strings(DASHBOARDS[name]):
        if text.startswith("/d/"):
            uid, _, query = text[3:].partition("?")
            assert "${__url_time_range}" in query
            assert {part[4:].split("=")[0] for part in query.split("&") if part.startswith("var-")} <= pages[uid]
    (link,) = DASHBOARDS[name]["links"]
    assert link["keepTime"]
    assert link["includeVars"]


def test_alerts_lead_to_dashboards():
    """The link in an alert's annotations names a dashboard and variables that it has."""
    pages = {page["uid"]: {v["name"] for v in page["templating"]["list"]} for page in DASHBOARDS.values()}
    for rule in ALERTS:
        uid, _, query = rule["annotations"]["dashboard"][3:].partition("?")
        assert {part[4:].split("=")[0] for part in query.split("&") if part} <= pages[uid]


@EACH
def test_every_panel_says_what_it_shows_and_from_what(name):
    """The description is for people, and it names each metric of ours that the queries ask for."""
    for panel in panels(DASHBOARDS[name]):
        used = {signal for text in strings(panel["targets"]) for signal in metrics_in(text)}
        assert panel["description"]
        assert all(f"`{signal}`" in panel["description"] for signal in used), panel["title"]


@EACH
def test_panels_neither_overlap_nor_leave_the_page(name):
    """Grafana would move them, and the layout would differ from what was meant."""
    cells = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    assert all(cell["x"] + cell["w"] <= 24 for cell in cells)
    for one, other in combinations(cells, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]


@EACH
def test_panel_ids_are_unique(name):
    """Links to a single panel and alert annotations go by id."""
    numbers = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize(
    ("variable", "signal"), [("first_token_slo", signals.TIME_TO_FIRST_TOKEN), ("wait_slo", signals.WAIT_MAX)]
)
def test_objectives_to_choose_are_bucket_bounds(variable, signal):
    """Only a bucket's bound gives an exact share."""
    (found,) = [v for v in DASHBOARDS["overview"]["templating"]["list"] if v["name"] == variable]
    assert [option["value"] for option in found["options"]] == objectives(signal)
    assert {float(option["value"]) for option in found["options"]} <= set(signals.METRICS[signal].buckets)


# Fields of a plugin's own, which Grafana's schema leaves open.
PLUGINS_OWN = {"templating/list/definition", "annotations/list/titleFormat", "annotations/list/step"}


@EACH
def test_grafana_s_own_types_take_every_field(name):
    """The classes that Grafana generates from its schema read the dashboard and give all of it back."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="needs grafana-foundation-sdk")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    again = json.loads(JSONEncoder().encode(models.Dashboard.from_json(DASHBOARDS[name])))
    assert set(lost(DASHBOARDS[name], again)) <= PLUGINS_OWN


def lost(one, other, path=()):
    """Yield the paths of what one has and the other has not or has different."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key, value in one.items():
            yield from lost(value, other.get(key), (*path, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for value, twin in zip(one, other, strict=True):
            yield from lost(value, twin, path)
    elif one != other:
        yield "/".join(path)
