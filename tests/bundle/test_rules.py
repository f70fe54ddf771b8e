"""The alert rules as files."""

from __future__ import annotations

import re

import pytest
import yaml
from bundle import ALERTS, ROOT, RULES

from grafana.builder.names import metric, metrics_in
from grafana.builder.queries import HEALTH
from otel_tokenstream import signals

EXPRESSIONS = [rule["expr"] for file in RULES.values() for group in file["groups"] for rule in group["rules"]]
RECORDED = {rule["record"] for group in RULES["objectives"]["groups"] for rule in group["rules"]}
# Of the SDK, the Collector and Tempo; the stack's tests ask the real ones for them.
FOREIGN = re.compile(r"(?:otel_sdk|otelcol|tempo)_\w+")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rules_name_metrics_that_exist(expression):
    """A misspelt metric makes a rule that never fires."""
    named = {
        word for word in re.findall(r"[a-z_]+(?::\w+)*", expression) if word.startswith(("tokenstream", "gen_ai_cl"))
    }
    known = {metric(name) for name in metrics_in(expression)}
    labels = {"tokenstream_outcome", "tokenstream_first_token_seen", "tokenstream_phase"}
    for word in named - labels - RECORDED:
        assert any(word in (name, f"{name}_bucket", f"{name}_count", f"{name}_sum") for name in known), word
    assert named or FOREIGN.search(expression)


@pytest.mark.parametrize("expression", [text for text in EXPRESSIONS if "le=" in text])
def test_objectives_are_bucket_bounds(expression):
    """Only a bucket's bound gives an exact share."""
    (bound,) = re.findall(r'le="([^"]+)"', expression)
    (histogram,) = [name for name in metrics_in(expression) if signals.METRICS[name].kind == "histogram"]
    assert float(bound) in signals.METRICS[histogram].buckets


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
    text = (ROOT / rule["annotations"]["runbook"]).read_text()
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["labels"]["slo"]
    assert rule["annotations"]["summary"]
    for heading in ("## Means", "## Look", "## Do"):
        assert heading in text


def test_every_alert_is_tested_by_promtool():
    """promtool runs these in the stack's tests."""
    text = (ROOT / "grafana/alerts/tests/rules.test.yaml").read_text()
    assert not [rule["alert"] for rule in ALERTS if re.sub(r"(Fast|Slow)$", "", rule["alert"]) not in text]


def test_the_grafana_managed_form_has_the_same_alerts_and_is_not_loaded():
    """Loaded beside the Prometheus rules it would page everyone twice."""
    managed = yaml.safe_load((ROOT / "grafana/alerts/grafana-managed.yaml").read_text())
    rules = {rule["title"]: rule for group in managed["groups"] for rule in group["rules"]}
    for rule in ALERTS:
        twin = rules.pop(rule["alert"])
        assert twin["data"][0]["model"]["expr"] == rule["expr"]
        assert twin["for"] == rule["for"]
        assert twin["labels"] == rule["labels"]
    assert not rules
    for path in (ROOT / "grafana/provisioning/alerting").glob("*.yaml"):
        assert set(yaml.safe_load(path.read_text())) == {"apiVersion"}


def test_nobody_is_notified_until_somebody_is_named():
    """No e-mail contact, no webhook: the receiver only collects."""
    configured = yaml.safe_load((ROOT / "backends/alertmanager.yaml").read_text())
    assert [set(receiver) for receiver in configured["receivers"]] == [{"name"}]
