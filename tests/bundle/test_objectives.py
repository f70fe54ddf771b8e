"""The shipped objectives, and the rules that follow another file."""

from __future__ import annotations

import yaml

from grafana.builder.objective_rules import build
from grafana.objectives import SHIPPED, shipped
from otel_tokenstream import signals
from otel_tokenstream.analysis.objectives import DEFAULTS, Within, load
from tests.bundle.bundle import ROOT


def test_the_shipped_file_is_read():
    """Models that think have longer; the rest is as the documentation says."""
    objectives = shipped()
    assert objectives.of("any", "gpt-4o").first_token == Within(2.5, 0.95)
    assert objectives.of("any", "gpt-4o").wait == Within(2.5, 0.99)
    for model in ("o1-mini", "o3", "deepseek-r1-distill", "my-reasoner", "claude-thinking"):
        assert objectives.of("any", model).first_token == Within(10, 0.95)
        assert objectives.of("any", model).wait == objectives.default.wait


def test_viewer_and_reports_judge_by_the_shipped_objectives_unless_told_otherwise():
    assert shipped() == DEFAULTS


def test_rules_follow_another_file(tmp_path):
    """Bounds, shares and thresholds of the file stand in the rules, overrides before the default."""
    path = tmp_path / "objectives.yaml"
    path.write_text("overrides: [{model: 'slow*', first_token: {within: 30, share: 0.9}, failed: 0.3}]")
    text = build(load(path))
    rules = {rule["record"]: rule["expr"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}
    late = rules["tokenstream:first_token_late:rate10m"]
    assert late.index('gen_ai_request_model=~"slow.*",le=~"30|30.0"') < late.index('{le="2.5"}')
    assert [line.rpartition(" + ")[2] for line in rules["tokenstream:first_token_objective:page"].splitlines()] == [
        "0.25",
        "0.25",
    ]
    assert [line.rpartition(" + ")[2] for line in rules["tokenstream:failed_objective:share"].splitlines()] == [
        "0.3",
        "0.05",
    ]


def test_the_comment_of_the_file_names_every_key():
    """Whoever changes it reads what the keys mean."""
    text = SHIPPED.read_text()
    for key in ("first_token", "wait", "failed", "given_up"):
        assert f"\n# {key} " in text
    assert SHIPPED == ROOT / "grafana" / "objectives.yaml"
    assert 2.5 in signals.METRICS[signals.TIME_TO_FIRST_TOKEN].buckets
