"""Budgets from the file of objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.gate.configuration import Configuration, load
from otel_tokenstream.gate.decision import decide
from tests.gate.made_streams import stream

if TYPE_CHECKING:
    from pathlib import Path

OBJECTIVES = """
defaults: {first_token: {within: 1, share: 0.9}, wait: {within: 1, share: 0.9}, failed: 0.1}
overrides:
  - {model: "slow*", first_token: {within: 10}}
  - {service: "batch", failed: 0.5}
"""
SLOW, BATCH, OTHERS = "objectives: model slow*", "objectives: service batch", "objectives: all others"


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """A gate's file beside the file of objectives that it names."""
    (tmp_path / "objectives.yaml").write_text(OBJECTIVES)
    path = tmp_path / "gate.toml"
    path.write_text('objectives = "objectives.yaml"')
    return load(path)


def verdicts(configuration: Configuration, *found: list[object]) -> dict[tuple[str, str], str]:
    decision = decide(configuration, [each for part in found for each in part])  # type: ignore[misc]
    return {(check.table, check.key): check.verdict for check in decision.checks}


def test_each_stream_is_judged_by_the_first_objective_that_covers_it(configuration: Configuration) -> None:
    """The same first token is in time for one model and late for another; an objective without streams is left out."""
    slow = [stream(number, model="slow-1", service="batch", first_token_ms=5000.0) for number in range(100)]
    quick = [stream(number, model="quick", first_token_ms=5000.0) for number in range(100)]
    assert verdicts(configuration, slow, quick) == {
        (SLOW, "first_token_late"): "pass",
        (SLOW, "longest_wait_late"): "pass",
        (SLOW, "failed_share"): "pass",
        (OTHERS, "first_token_late"): "fail",
        (OTHERS, "longest_wait_late"): "pass",
        (OTHERS, "failed_share"): "pass",
    }


def test_waits_and_failures_have_their_own_limits(configuration: Configuration) -> None:
    """A stream that failed before any token is late as well; one that its reader left before is not judged."""
    waiting = [stream(number, wait_max_ms=2000) for number in range(100)]
    assert verdicts(configuration, waiting)[OTHERS, "longest_wait_late"] == "fail"
    failed = [
        stream(number, service="batch", outcome="failed" if number % 4 == 0 else "completed", first_token_ms=None)
        for number in range(100)
    ]
    found = decide(configuration, failed)
    late, waits, failures = found.checks
    assert (late.table, late.verdict, late.left_out) == (BATCH, "fail", 75)
    assert waits.verdict == "pass"
    assert (failures.verdict, failures.bound) == ("pass", 0.5)


def test_budgets_of_the_file_stand_beside_them(tmp_path: Path) -> None:
    (tmp_path / "objectives.yaml").write_text(OBJECTIVES)
    path = tmp_path / "gate.toml"
    path.write_text('objectives = "objectives.yaml"\n[[budget]]\nfirst_token_p95 = "1 s"\n')
    found = verdicts(load(path), [stream(number) for number in range(100)])
    assert found["budget 1", "first_token_p95"] == "pass"
    assert found[OTHERS, "first_token_late"] == "pass"
