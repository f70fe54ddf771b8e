"""The dashboards as files: current, complete and without dead references."""

from __future__ import annotations

import json
import re
from itertools import combinations

import pytest
import yaml

from grafana.builder.__main__ import generated
from grafana.builder.names import metrics_in
from grafana.builder.panels import UIDS
from grafana.builder.queries import SERVICE_PAGE, STREAM, TRACES
from grafana.objectives import shipped
from otel_tokenstream import signals
from tests.bundle.bundle import ALERTS, COMPOSE, DASHBOARDS, ROOT, panels, strings, variables_named

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
        address, _, rest = rule["annotations"]["dashboard_url"].partition("/d/")
        assert address == "{{ $externalLabels.grafana_url }}"
        uid, _, query = rest.partition("?")
        given = {part.split("=")[0] for part in query.split("&")}
        assert {"from", "to"} <= given
        assert {part[4:] for part in given if part.startswith("var-")} <= pages[uid]


@EACH
def test_every_panel_describes_its_content_and_source(name):
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


@EACH
def test_every_variable_is_used(name):
    """A choice that changes nothing misleads."""
    page = DASHBOARDS[name]
    asked = [strings([p["targets"], p["title"], p["options"], p["fieldConfig"]]) for p in panels(page)]
    queries = {
        v["name"]: set(map(str, strings([v.get("query", ""), v.get("definition", "")]))) for v in variables(page)
    }
    used = {variable for texts in asked for text in texts for variable in variables_named(text)}
    used |= {variable for texts in queries.values() for text in texts for variable in variables_named(text)}
    assert {each["name"] for each in variables(page)} <= used


def variables(page):
    return [each for each in page["templating"]["list"] if each["type"] != "datasource"]


@EACH
def test_data_sources_can_be_chosen(name):
    """Who imports a dashboard elsewhere must see the variables to choose them by."""
    assert not [v for v in DASHBOARDS[name]["templating"]["list"] if v.get("hide", 0)]


@EACH
def test_no_panel_leaves_its_thresholds_to_grafana(name):
    """Grafana's own turn a number red from 80 on, whatever it counts."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] in ("stat", "table", "timeseries"):
            assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], panel["title"]


@EACH
def test_rates_hold_several_samples_at_the_default_export_interval(name):
    """Metrics come every 60 s unless somebody says otherwise, and a rate needs two of them."""
    assert all(v["current"]["value"] == "60s" for v in variables(DASHBOARDS[name]) if v["name"] == "every")
    for panel in panels(DASHBOARDS[name]):
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                assert target["interval"] == "$every"
                fixed = re.findall(r"\[(\d+)([sm])[\]:]", target["expr"])
                assert all(int(number) * {"s": 1, "m": 60}[unit] >= 180 for number, unit in fixed), target["expr"]


def test_two_sides_are_compared_before_anybody_has_chosen():
    """Both variables have the same values: the first of one order and the first of the other."""
    sides = {v["name"]: v for v in DASHBOARDS["compare"]["templating"]["list"] if v["name"] in ("a", "b")}
    assert sides["a"]["query"]["query"] == sides["b"]["query"]["query"]
    assert {side["sort"] for side in sides.values()} == {1, 2}


@pytest.mark.parametrize("name", ["overview", "service"])
def test_tables_of_streams_follow_every_variable_and_lead_to_the_stream(name):
    """Also provider and model; the id of the trace is in a column that Grafana hides."""
    tables = [p for p in panels(DASHBOARDS[name]) if p["targets"][0]["datasource"]["type"] == "tempo"]
    assert tables
    for panel in tables:
        assert {"service", "provider", "model"} <= variables_named(panel["targets"][0]["query"])
        links = [text for text in strings(panel["fieldConfig"]["overrides"]) if text.startswith("/d/")]
        assert all("var-trace=${__data.fields.traceIdHidden}" in link for link in links)
        assert links


def test_late_streams_are_those_after_their_own_objective():
    """The same bounds as in the alerts, by service and model."""
    for objective in shipped().ordered:
        bound = f"> {1000 * objective.first_token.seconds:.0f}"
        assert bound in TRACES["late"][0].text
        assert objective.first_token.le in SERVICE_PAGE["in_time_range"][0].text


def test_a_stream_without_a_trace_id_is_no_stream():
    """An empty id would find every record that belongs to no trace."""
    for name in ("gaps", "pace", "events"):
        assert all("trace_id!=``" in query.text for query in STREAM[name])


def test_the_rows_that_open_first_run_few_queries():
    """Only open rows are asked for, once a minute; tests/stack measures what that costs Prometheus."""
    for name in ("overview", "service", "health"):
        page = DASHBOARDS[name]
        assert page["refresh"] == "1m"
        assert sum(len(panel.get("targets", ())) for panel in page["panels"]) <= 30


def test_exemplars_lead_to_the_stream():
    """Not only to Explore."""
    sources = yaml.safe_load((ROOT / "grafana/provisioning/datasources/stack.yaml").read_text())["datasources"]
    (prometheus,) = [source for source in sources if source["uid"] == "prometheus"]
    first = prometheus["jsonData"]["exemplarTraceIdDestinations"][0]
    assert first["name"] == "trace_id"
    assert first["url"].startswith(f"/d/{UIDS['stream']}?var-trace=$${{__value.raw}}")


def test_the_walk_and_the_runbooks_name_panels_that_exist():
    """Who is on call looks for the words of the page."""
    titles = {page["title"]: {each["title"] for each in shown(page)} for page in DASHBOARDS.values()}
    for path in (ROOT / "docs/runbooks").glob("*.md"):
        for line in path.read_text().splitlines():
            page, *words = (
                re.findall(r"\*([^*]+)\*", line) if line.startswith(tuple(f"- *{t}*" for t in titles)) else [""]
            )
            for word in words:
                if word[0].isupper() and not word.startswith("OTEL"):
                    assert word in titles[page], f"{path.name}: {word}"
    walk = (ROOT / "docs/oncall.md").read_text()
    for page, panel in re.findall(r"\| (Service|Plugin health) \| \*([^*]+)\* \|", walk):
        assert panel in titles[page]
    pictures = re.findall(r"\]\((images/[^)]+)\)", walk)
    assert len(pictures) > 10
    assert not [each for each in pictures if not (ROOT / "docs" / each).exists()]


def shown(page):
    return [inner for each in page["panels"] for inner in (each, *each.get("panels", ()))]


def test_pictures_are_drawn_by_the_components_of_the_shipped_grafana():
    """Another version of the packages would show another Grafana."""
    image = COMPOSE["services"]["grafana"]["image"].split("@")[0]
    packages = json.loads((ROOT / "tests/dashboards_harness/package.json").read_text())["dependencies"]
    ours = {version for name, version in packages.items() if name.startswith("@grafana/")}
    assert ours == {image.rpartition(":")[2]}


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
