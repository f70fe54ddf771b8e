"""The alert rules as files."""

from __future__ import annotations

import re

import pytest
import yaml

from grafana.builder.names import metric, metrics_in
from grafana.builder.queries import HEALTH
from otel_tokenstream import signals
from tests.bundle.bundle import ALERTS, ROOT, RULES

EXPRESSIONS = [rule["expr"] for file in RULES.values() for group in file["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for group in RULES["objectives"]["groups"] for rule in group["rules"]}
# Of the SDK, the Collector and Tempo; the stack's tests ask the real ones for them.
FOREIGN = re.compile(r"(?:otel_sdk|otelcol|tempo|loki|prometheus)_\w+")
# What every Prometheus has, and the watchdog's constant.
ALWAYS = ('up{job="backends"}', "vector(1)")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rules_name_metrics_that_exist(expression):
    """A misspelt metric makes a rule that never fires."""
    named = {
        word for word in re.findall(r"[a-z_]+(?::\w+)*", expression) if word.startswith(("tokenstream", "gen_ai_cl"))
    }
    known = {metric(name) for name in metrics_in(expression)}
    labels = {"tokenstream_outcome", "tokenstream_first_token_seen", "tokenstream_phase", "tokenstream_workload"}
    for word in named - labels - RECORDED:
        assert any(word in (name, f"{name}_bucket", f"{name}_count", f"{name}_sum") for name in known), word
    assert named or FOREIGN.search(expression) or any(text in expression for text in ALWAYS)


@pytest.mark.parametrize("expression", [text for text in EXPRESSIONS if "_bucket{" in text])
def test_objectives_are_bucket_bounds(expression):
    """Only a bucket's bound gives an exact share."""
    (histogram,) = [name for name in metrics_in(expression) if signals.METRICS[name].kind == "histogram"]
    for bounds in re.findall(r'le=~?"([^"]+)"', expression):
        assert {float(bound) for bound in bounds.split("|")} <= set(signals.METRICS[histogram].buckets)


def test_every_loss_that_raises_an_alert_is_on_a_dashboard():
    """Whoever follows the alert must find the counter that moved."""
    counted = {word for rule in ALERTS for word in re.findall(FOREIGN, rule["expr"])}
    shown = " ".join(query.text for queries in HEALTH.values() for query in queries)
    assert counted
    assert not [word for word in counted if word not in shown]


def test_no_alert_looks_at_gaps():
    """A slow consumer makes gaps, and nobody should be woken for that."""
    gaps = (signals.GAP_MAX, signals.OPERATION_TIME_PER_OUTPUT_CHUNK, signals.INFERENCE_TIME_PER_OUTPUT_CHUNK)
    assert not [text for text in EXPRESSIONS if set(metrics_in(text)) & set(gaps)]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_runbook_and_says_how_bad_it_is(rule):
    """Whoever is woken finds what it means, what to look at and what to do."""
    address, _, name = rule["annotations"]["runbook_url"].rpartition("/")
    assert address == "{{ $externalLabels.runbooks_url }}"
    text = (ROOT / "docs" / "runbooks" / name).read_text()
    if rule["alert"] == "Watchdog":
        assert rule["labels"] == {"severity": "none"}
    else:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["labels"]["slo"]
    assert rule["annotations"]["summary"]
    for heading in ("## Means", "## Look", "## Do"):
        assert heading in text


def test_every_alert_is_tested_by_promtool_on_both_sides():
    """Each is expected to fire in one place, and to be silent in another. promtool runs them in the stack's tests."""
    tests = [
        test
        for path in sorted((ROOT / "grafana/alerts/tests").glob("*.test.yaml"))
        for group in yaml.safe_load(path.read_text())["tests"]
        for test in (*group.get("promql_expr_test", ()), *group.get("alert_rule_test", ()))
    ]
    fires, silent = set(), set()
    for test in tests:
        found = set(re.findall(r'alertname="(\w+)"', test.get("expr", ""))) | {test.get("alertname", "")}
        for sample in test.get("exp_samples", ()):
            found |= set(re.findall(r'alertname="(\w+)"', sample["labels"]))
        if "exp_alerts" in test:
            (fires if test["exp_alerts"] else silent).update(found)
        else:
            values = {sample["value"] for sample in test["exp_samples"]}
            (fires if values - {0} else silent).update(found)
    names = {rule["alert"] for rule in ALERTS}
    assert names <= fires
    assert names - {"Watchdog"} <= silent


@pytest.mark.parametrize(
    "rule", [each for each in ALERTS if each["alert"] != "Watchdog"], ids=lambda rule: rule["alert"]
)
def test_every_alert_holds_over_short_pauses_of_its_fault(rule):
    """One incident is one notification: an alert neither fires on one look nor clears on one."""
    assert rule["for"]
    assert rule["keep_firing_for"]


RATIOS = [rule for rule in ALERTS if re.search(r"Burn|Ratio|Stalled|Fell", rule["alert"])]


@pytest.mark.parametrize("rule", RATIOS, ids=lambda rule: rule["alert"])
def test_every_alert_on_a_share_wants_a_number_as_well(rule):
    """One of one is all of them."""
    assert len(RATIOS) == 8
    assert re.search(r">= \d+", rule["expr"])


# AlertRuleV1 in pkg/services/provisioning/alerting/rules_types.go of grafana/grafana; others are ignored there.
GRAFANA_KEYS = {
    *("uid", "title", "condition", "data", "dashboardUid", "panelId", "noDataState", "execErrState", "for"),
    *("keepFiringFor", "missing_series_evals_to_resolve", "annotations", "labels", "isPaused"),
    *("notification_settings", "record"),
}


def test_the_grafana_managed_form_has_the_same_alerts_and_is_not_loaded():
    """Loaded beside the Prometheus rules it would page everyone twice."""
    managed = yaml.safe_load((ROOT / "grafana/alerts/grafana-managed.yaml").read_text())
    rules = {rule["title"]: rule for group in managed["groups"] for rule in group["rules"]}
    for rule in ALERTS:
        twin = rules.pop(rule["alert"])
        assert twin["data"][0]["model"]["expr"] == rule["expr"]
        assert twin["for"] == rule.get("for", "0s")
        assert twin["keepFiringFor"] == rule.get("keep_firing_for", "0s")
        assert not [text for text in twin["annotations"].values() if "externalLabels" in text]
        assert twin["labels"] == rule["labels"]
        assert twin.keys() <= GRAFANA_KEYS
    assert not rules
    for path in (ROOT / "grafana/provisioning/alerting").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())) == {"apiVersion"}


def test_nobody_is_notified_until_somebody_is_named():
    """No e-mail contact, no webhook: the receivers only collect, the watchdog's included."""
    configured = yaml.safe_load((ROOT / "backends/alertmanager.yaml").read_text())
    assert [set(receiver) for receiver in configured["receivers"]] == [{"name"}, {"name"}]
