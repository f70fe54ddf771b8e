"""The file of objectives: who is covered by what, and what is refused with which words."""

from __future__ import annotations

import builtins

import pytest

from otel_tokenstream.analysis.objectives import DEFAULTS, Within, load


@pytest.fixture
def read(tmp_path):
    """Reads a text as the file of objectives."""

    def reading(text):
        path = tmp_path / "objectives.yaml"
        path.write_text(text)
        return load(path)

    return reading


@pytest.mark.parametrize("text", ["", "{}", "defaults:\noverrides:\n", "defaults: {}\noverrides: []\n"])
def test_an_empty_file_gives_the_defaults(read, text):
    assert read(text).of("a", "b").first_token == Within(2.5, 0.95)


def test_the_first_override_that_matches_counts_and_leaves_the_rest_to_the_defaults(read):
    objectives = read(
        """
defaults: {failed: 0.1, first_token: {within: 5}}
overrides:
  - {service: batch-*, model: ["slow-?", "a.b+c"], first_token: {within: 30, share: 0.9}}
  - {service: batch-*, first_token: {within: 20}, failed: 0.3}
  - {model: slow-1, wait: {share: 0.999}}
"""
    )
    assert objectives.of("batch-1", "slow-1").first_token == Within(30, 0.9)
    assert objectives.of("batch-1", "a.b+c").first_token == Within(30, 0.9)
    assert objectives.of("batch-1", "axb+c").first_token == Within(20, 0.95)
    assert objectives.of("batch-1", "slow-10").failed == 0.3
    assert objectives.of("other", "slow-1").wait == Within(2.5, 0.999)
    assert objectives.of("other", "slow-1").first_token == Within(5, 0.95)
    assert objectives.of("a-batch-1", "slow-1").failed == 0.1
    first, _, _, default = objectives.ordered
    assert first.matchers == r'service_name=~"batch\\-.*",gen_ai_request_model=~"slow\\-.|a\\.b\\+c"'
    assert default.matchers == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defaults: {first_tokn: {within: 5}}", "first_tokn.*allowed are.*first_token"),
        ("defaults: {first_token: {within: 6}}", r"defaults: within is 6.*2\.5, 3\.5, 5"),
        ("defaults: {first_token: {within: soon}}", "within is 'soon'"),
        ("defaults: {first_token: 5}", "first_token and wait.*5"),
        ("defaults: {wait: {within: 60}}", "tokenstream.wait.max"),
        ("defaults: {first_token: {share: 95}}", "share is 95; it must be a number from 0.5 to 0.9999"),
        ("defaults: {first_token: {share: 1}}", "share is 1"),
        ("defaults: {failed: true}", "failed is True"),
        ("defaults: {failed: 0}", "failed is 0"),
        ("defaults: {model: x}", "'model'"),
        ("overrides: [{first_token: {within: 5}}]", "entry 1: name a service or a model"),
        ("overrides: [{model: x}, {model: 3}]", "entry 2, model is 3"),
        ("overrides: {model: x}", "must be a list"),
        ("overrides: [x]", "entry 1: 'x'"),
        ("- x", "the file"),
        ("defaults: {", "objectives.yaml"),
    ],
)
def test_a_wrong_file_is_refused_with_the_allowed_values(read, text, words):
    with pytest.raises(ValueError, match=f"(?s)objectives.yaml: .*{words}" if words != "objectives.yaml" else words):
        read(text)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999])
def test_thresholds_can_be_reached_and_lie_above_the_budget(share):
    """A threshold of more than all streams would never fire, one below the budget in a healthy hour."""
    within = Within(2.5, share)
    assert within.budget < within.ticket_above <= within.page_above < 1
    assert within.page_above <= 14.4 * within.budget + 1e-9


@pytest.mark.parametrize(
    ("first_token_ms", "outcome", "late"),
    [
        (2500, "completed", False),
        (2501, "completed", True),
        (0, "failed", False),
        (2501, None, True),
        (None, "failed", True),
        (None, "cancelled", None),
        (None, None, None),
    ],
)
def test_a_first_token_is_judged_as_the_alerts_do(first_token_ms, outcome, late):
    """A bucket holds its bound; who failed before any token was late, who was left before is not counted."""
    assert DEFAULTS.of("shop", "gpt-4o").first_token_late(first_token_ms, outcome) is late


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_without_pyyaml_the_extra_is_named(tmp_path, monkeypatch):
    """Only who names a file needs it."""
    real = builtins.__import__

    def missing(name, *arguments, **others):
        if name == "yaml":
            raise ModuleNotFoundError(name, name=name)
        return real(name, *arguments, **others)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ModuleNotFoundError, match=r"otel-tokenstream\[viewer\]"):
        load(tmp_path / "objectives.yaml")
