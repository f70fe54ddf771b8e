from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.analysis.selection import Condition
from otel_tokenstream.gate.configuration import ConfigurationError, load, parse
from otel_tokenstream.gate.metrics import Goodput

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
level = 0.9
seed = 7

[[budget]]
name = "shop"
where = { service = "shop", version = "1.3" }
first_token_p95 = "2.5 s"
stalled_share = "1 %"
goodput = { at_least = "95 %", first_token = "1 s", duration = "1 min" }

[[regression]]
first_token_p50 = "10%"
failed_share = "0.5%"
"""


def test_a_file_gives_its_tables(tmp_path: Path) -> None:
    """Times become milliseconds, percents become shares, words of a selection their attributes."""
    path = tmp_path / "tokenstream-gate.toml"
    path.write_text(FILE, encoding="utf-8")
    found = load(path)

    assert (found.level, found.seed, found.needs_baseline) == (0.9, 7, True)
    budget, regression = found.tables
    assert isinstance(budget.where, Condition)
    assert budget.where.parts == (("service", "shop"), ("service.version", "1.3"))
    assert [(each.key, each.bound) for each in budget.limits] == [
        ("first_token_p95", 2_500.0),
        ("stalled_share", 0.01),
        ("goodput", pytest.approx(0.05)),
    ]
    assert isinstance(budget.limits[2].goodput, Goodput)
    assert budget.limits[2].goodput.limits == (("first_token", 1_000.0), ("duration", 60_000.0))
    assert regression.name == "regression 1"
    assert [(each.key, each.bound) for each in regression.limits] == [("first_token_p50", 0.1), ("failed_share", 0.005)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "nothing to judge"),
        ({"budgets": []}, "unknown key 'budgets'"),
        ({"level": 95, "budget": [{"failed_share": "1 %"}]}, "level is 95"),
        ({"seed": "x", "budget": [{"failed_share": "1 %"}]}, "seed is 'x'"),
        ({"budget": {"failed_share": "1 %"}}, r"\[\[budget\]\]"),
        ({"budget": [{"name": "a"}]}, "has no limit"),
        ({"budget": [{"first_token_p42": "1 s"}]}, "unknown key 'first_token_p42'"),
        ({"budget": [{"first_token_p95": 2.5}]}, "with its unit"),
        ({"budget": [{"first_token_p95": "0 s"}]}, "above 0"),
        ({"budget": [{"first_token_p95": "-1 s"}]}, "with its unit"),
        ({"budget": [{"failed_share": "1"}]}, "in percent"),
        ({"budget": [{"failed_share": "1 %", "where": "service=shop"}]}, "no table of texts"),
        ({"budget": [{"failed_share": "1 %", "where": {"colour": "red"}}]}, "where of"),
        ({"budget": [{"goodput": "95 %"}]}, "at_least"),
        ({"budget": [{"goodput": {"at_least": "95 %", "colour": "1 s"}}]}, "unknown key 'colour'"),
        ({"regression": [{"goodput": {"at_least": "95 %", "duration": "1 s"}}]}, "unknown key 'goodput'"),
        ({"regression": [{"first_token_p95": "1 s"}]}, "in percent"),
        ({"objectives": ["a.yaml"]}, "name a file"),
        ({"objectives": "nowhere.yaml"}, "nowhere.yaml: No such file"),
    ],
)
def test_a_mistake_is_named_with_the_allowed_values(content: dict[str, Any], says: str) -> None:
    """A gate that skips what it does not understand would pass every build."""
    with pytest.raises(ConfigurationError, match=says):
        parse(content)


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    """The message begins with the path."""
    path = tmp_path / "gate.toml"
    with pytest.raises(ConfigurationError, match="No such file"):
        load(path)
    path.write_text("[[budget", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is no TOML"):
        load(path)
