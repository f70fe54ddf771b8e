"""Every public entry of litellm and DSPy, called once for real, in the version at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.doctor.probes import MISSING_PARTS

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

PROGRAM = Path(__file__).with_name("probes.py")
# DSPy before litellm, whose probes choose between its code in Python and its native one.
LIBRARIES = ("dspy", "litellm")


@pytest.fixture(scope="module")
def probed(
    running_provider: ScriptedProvider, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, Any]]]:
    """What was recorded of each call; the last one of a library is about its seams."""
    running_provider.reset()
    whole = Script(pieces=list("abcd"), gap=0.002)
    running_provider.scripts |= dict.fromkeys(("gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"), whole)
    running_provider.scripts |= {"test": Script(gap=0.0005), "broken": Script(ending="http_error", status=500)}
    directory = str(tmp_path_factory.mktemp("cache"))
    run = subprocess.run(
        [sys.executable, str(PROGRAM), running_provider.base_url, *LIBRARIES],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": directory},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    libraries, calls = iter(LIBRARIES), []
    for line in run.stdout.splitlines():
        if line.startswith(('{"name"', '{"version"')):
            calls.append(json.loads(line))
        if line.startswith('{"version"'):
            found[next(libraries)], calls = calls, []
    return found


def answered(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the calls that the installation has; any other error than a missing part is a failure."""
    assert [each for each in calls if each["error"] and not any(word in each["error"] for word in MISSING_PARTS)] == []
    return [each for each in calls if each["error"] is None]


def test_every_entry_is_one_span_with_its_chunks(probed: dict[str, list[dict[str, Any]]]) -> None:
    """Whichever code of litellm's answers: one span, completed, with as many chunks as the program had."""
    *calls, about = probed["litellm"]
    found = answered(calls)

    assert about["missing"] == []
    assert {each["name"] for each in found} >= {"completion streamed", "acompletion streamed", "Router.completion"}
    for each in found:
        ((_, outcome, chunks),) = each["spans"]
        assert (outcome, chunks) == ("completed", each["chunks"]), each
        if each["name"].startswith("Router"):
            assert each["spans"][0][0] == "chat broken"
    if hasattr(litellm, "rust") and any(each["name"].endswith("acreate") for each in found):
        assert any(each["name"].endswith("natively") for each in found)


def test_every_engine_of_dspy_has_one_call_below_its_module(probed: dict[str, list[dict[str, Any]]]) -> None:
    """Plain, awaited and streamed; a tool and a retriever have a span of their own."""
    *calls, about = probed["dspy"]
    found = answered(calls)

    assert about["missing"] == []
    assert len(found) >= 5
    for each in found:
        names = [name for name, _, _ in each["spans"]]
        if not each["is_call"]:
            assert len(names) == 1
            continue
        assert names == ["chat test", "Predict"], each
        _, outcome, chunks = each["spans"][0]
        assert outcome == "completed"
        assert chunks is None if each["chunks"] is None else chunks >= each["chunks"] > 8, each
