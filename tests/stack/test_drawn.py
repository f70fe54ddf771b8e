"""Every panel drawn with Grafana's components, from what programs emit that set nothing up.

They run under opentelemetry-instrument with the default export interval of 60 s.
"""

from __future__ import annotations

import json
import time

import pytest

from otel_tokenstream.demo.children import end
from tests.dashboards_harness import building
from tests.dashboards_harness.asking import Asking
from tests.stack import ask
from tests.stack.plain_programs import start
from tests.stack.servers import ROOT, wait_until

PAGES = ("overview", "service", "compare", "health", "stream")
SERVICES = {"plain-failing": "failing", "plain-late": "late", "plain-stalling": "stalling"}
# Only what the local stack does not do, and what these programs do not do.
OTHERWISE_EMPTY = {"First content by output field p95"}


def dashboard(name):
    return json.loads((ROOT / f"grafana/dashboards/{name}.json").read_text())


def panels(page):
    return [inner for each in page["panels"] for inner in (each, *each.get("panels", ())) if inner["type"] != "row"]


@pytest.fixture(scope="module")
def plain(stack, tmp_path_factory):
    """Return when the programs started; they go on for as long as the tests look."""
    directory = tmp_path_factory.mktemp("plain")
    endpoint = stack.collectors["collector"].http
    running = [start(directory, endpoint, name, "healthy=30", f"{fault}=1200") for name, fault in SERVICES.items()]
    try:
        # Importing litellm takes minutes where the machine has much else to do.
        logs = [directory / f"program-{name}.log" for name in SERVICES]
        wait_until(lambda: all("healthy" in log.read_text() for log in logs), 600, every=1, what="streams")
        started = time.time()
        # Two exports for a rate, and the slower of the recorded objectives.
        recorded = 'tokenstream:first_token_objective:seconds{service_name="plain-late"}'
        wait_until(lambda: ask.promql(stack.url("prometheus"), recorded), 300, every=5, what=recorded)
        firing = 'ALERTS{alertstate="firing",alertname="StreamErrorRatio",service_name="plain-failing"}'
        wait_until(lambda: ask.promql(stack.url("prometheus"), firing), 480, every=5, what=firing)
        wait_until(lambda: time.time() > started + 420, 420, every=5, what="seven minutes")
        yield started
    finally:
        for each in running:
            each.terminate()
        for each in running:
            end(each)


@pytest.fixture(scope="module")
def answers(stack, plain):
    """Return, by dashboard, what it shows of the last ten minutes, as Grafana asks for it."""
    now = time.time()
    found = {}
    trace = ""
    if stack.has_tempo:
        query = '{ resource.service.name = "plain-stalling" && span.tokenstream.outcome = "completed" }'
        traces = wait_until(lambda: ask.traceql(stack.url("tempo"), query, plain), 60, what="a trace")
        # Where there is one, a trace whose id begins with a zero, which Tempo leaves out.
        trace = min((each["traceID"] for each in traces), key=len)
    for name in PAGES:
        page = dashboard(name)
        variables = {
            v["name"]: v.get("allValue") or v.get("current", {}).get("value", "") for v in page["templating"]["list"]
        }
        variables |= {"a": "claude", "b": "gpt-4o", "least": "10", "trace": trace}
        asking = Asking(
            stack.url("prometheus"),
            now - 600,
            now,
            loki=stack.url("loki"),
            tempo=stack.url("tempo"),
            variables=variables,
        )
        found[name] = (page, asking, asking.dashboard(page))
    return found


def has_values(target):
    answer = target["answer"]
    if target["language"] == "promql":
        return any(value[1] != "NaN" for each in answer["result"] for value in each.get("values") or [each["value"]])
    if target["language"] == "logql":
        return bool(answer["result"])
    return bool(answer.get("traces") or answer.get("batches") or answer.get("trace") or answer.get("resourceSpans"))


@pytest.mark.parametrize("name", PAGES)
def test_no_panel_is_empty_without_saying_why(stack, answers, name):
    """With nothing set but where to send: no shorter interval, no meter provider given by hand."""
    page, _, found = answers[name]
    empty = []
    for panel in panels(page):
        targets = found["panels"][str(panel["id"])]["targets"]
        if not stack.has_tempo and any(t["language"] == "traceql" or "tempo_" in t.get("expr", "") for t in targets):
            continue
        assert not [t["answer"] for t in targets if "error" in t["answer"]], panel["title"]
        said = "noValue" in panel["fieldConfig"]["defaults"] or panel["title"] in OTHERWISE_EMPTY
        if not said and not any(has_values(target) for target in targets):
            empty.append(panel["title"])
    assert not empty


def test_lines_have_no_holes_at_the_default_interval(answers, plain):
    """From the second export on, each step of a rate has a value."""
    page, asking, found = answers["service"]
    (panel,) = [each for each in panels(page) if each["title"] == "First token p95 by model"]
    target = found["panels"][str(panel["id"])]["targets"][0]
    step, window = asking.step(target, panel)
    assert (step, window) == (60, 240)
    expected = int((asking.end - plain - 180) // step)
    models = {each["metric"]["gen_ai_request_model"]: each["values"] for each in target["answer"]["result"]}
    # Other services' models may have had no first token in these minutes.
    for model in ("gpt-4o", "gpt-4o-mini", "o3-mini", "claude"):
        assert len([v for _, v in models[model] if v != "NaN"]) >= expected - 1, model


def test_the_queue_of_the_sdk_is_shown(answers):
    """The SDK tells its capacity to nobody under opentelemetry-instrument, but its size."""
    page, _, found = answers["health"]
    (panel,) = [each for each in panels(page) if each["title"] == "Span queue of the SDK"]
    size, full = found["panels"][str(panel["id"])]["targets"]
    assert set(SERVICES) <= {each["metric"]["service_name"] for each in size["answer"]["result"]}
    assert full["answer"]["result"]


def test_the_first_page_names_the_services_in_trouble(answers):
    """The alert that fires, and the service whose streams fail."""
    page, _, found = answers["overview"]
    titles = {each["title"]: found["panels"][str(each["id"])]["targets"] for each in panels(page)}
    firing = [each["metric"] for each in titles["Firing alerts"][0]["answer"]["result"]]
    # Some alerts are about no service: the watchdog, say.
    assert ("StreamErrorRatio", "plain-failing") in {(each["alertname"], each.get("service_name")) for each in firing}
    services = {each["metric"]["service_name"] for each in titles["Services"][0]["answer"]["result"]}
    assert set(SERVICES) <= services


@pytest.mark.skipif(not building.available(), reason="drawing needs Node 20 with npm")
@pytest.mark.parametrize("name", PAGES)
def test_every_panel_is_drawn(answers, drawing_page, name):
    """In a real browser by Grafana's components: no error, and something in every panel that has data."""
    page, asking, found = answers[name]
    rows = [each["title"] for each in page["panels"] if each["type"] == "row"]
    height = drawing_page.draw(page, found, start=asking.start, end=asking.end, variables=asking.variables, rows=rows)
    assert height > 500
    assert drawing_page.problems() == []
    drawn = drawing_page.panels()
    assert set(drawn) == {each["title"] for each in panels(page)}
    for panel in panels(page):
        targets = found["panels"][str(panel["id"])]["targets"]
        if any(has_values(target) for target in targets if "error" not in target["answer"]):
            assert drawn[panel["title"]] == "drawn", panel["title"]


@pytest.fixture(scope="module")
def drawing_page():
    from tests.dashboards_harness.drawing import drawing

    with drawing() as page:
        yield page
