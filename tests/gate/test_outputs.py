from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from otel_tokenstream.gate import outputs
from otel_tokenstream.gate.configuration import parse
from otel_tokenstream.gate.decision import Decision, decide
from tests.gate.made_streams import stream, streams

TABLES = {
    "budget": [
        {"name": "fast | <b>shop</b>", "first_token_p95": "500 ms", "failed_share": "1 %"},
        {"name": "none", "failed_share": "1 %", "where": {"model": "other"}},
    ]
}


@pytest.fixture
def decision() -> Decision:
    """One check that passes, one that fails, one without streams."""
    found = streams([100.0] * 100) + [stream(n, outcome="failed", first_token_ms=None) for n in range(100, 140)]
    return decide(parse(TABLES), found)


def test_the_text_names_each_check_and_why_it_did_not_pass(decision: Decision) -> None:
    """Numbers come with their units."""
    text = outputs.as_text(decision, ["half of a file could not be read"])

    assert text.startswith("fail: 1 fail, 1 inconclusive, 1 pass of 3 checks over 140 streams, at 95%")
    assert "≤ 500 ms" in text
    assert "28.6%" in text
    assert "fast | <b>shop</b>, failed_share: over the limit beyond chance." in text
    assert "40 streams of fast | <b>shop</b> are not in first_token_p95" in text
    assert "Note: half of a file could not be read" in text


def test_the_markdown_cannot_be_broken_by_a_name(decision: Decision) -> None:
    """Names come from outside: a bar would end a cell, a tag would be one."""
    text = outputs.as_markdown(decision)

    rows = [line for line in text.splitlines() if line.startswith(("| ❌", "| ✅"))]
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}
    assert "<b>" not in text


def test_the_junit_file_has_a_case_for_each_check(decision: Decision) -> None:
    """CI services read failures and skipped tests."""
    suite = ET.fromstring(outputs.as_junit(decision))

    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    children = {(case.get("name"), *(child.tag for child in case)) for case in suite}
    assert children == {("first_token_p95",), ("failed_share", "failure"), ("failed_share", "skipped")}


def test_the_json_has_the_evidence_and_the_environment(decision: Decision) -> None:
    """A program finds each number; what was not measured is null."""
    told = json.loads(json.dumps(outputs.as_json(decision, {"candidate": "a", "baseline": None}, {"cpus": 2})))

    assert (told["version"], told["verdict"]) == (outputs.VERSION, "fail")
    assert told["checks"][0]["evidence"]["value"] == 100.0
    assert told["checks"][2]["evidence"] is None
    assert told["environment"] == {"cpus": 2}


def test_goodput_is_told_as_the_share_that_is_wanted() -> None:
    """At least so many good streams are allowed, and so many were found."""
    limits = {"at_least": "95 %", "duration": "20 s"}
    found = decide(parse({"budget": [{"goodput": limits}]}), streams([100.0] * 200))
    text = outputs.as_text(found)

    assert "≥ 95.0%" in text
    assert "100.0%" in text
