"""Every public entry of litellm and DSPy, called once for real, in the version at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import litellm

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.doctor.probes import MISSING_PARTS

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider


def probed(library: str, provider: ScriptedProvider, directory: Path) -> list[dict[str, Any]]:
    """Return what was recorded of each call; the last one is about the library's seams."""
    run = subprocess.run(
        [sys.executable, "-m", "otel_tokenstream.doctor.probes", library, provider.base_url],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith(('{"name"', '{"version"'))]


def answered(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the calls that the installation has; any other error than a missing part is a failure."""
    assert [each for each in calls if each["error"] and not any(word in each["error"] for word in MISSING_PARTS)] == []
    return [each for each in calls if each["error"] is None]


def test_every_entry_is_one_span_with_its_chunks(provider: ScriptedProvider, tmp_path: Path) -> None:
    """Whichever code of litellm's answers: one span, completed, with as many chunks as the program had."""
    whole = Script(pieces=list("abcd"), gap=0.002)
    provider.scripts |= dict.fromkeys(("test", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash"), whole)
    provider.scripts["broken"] = Script(ending="http_error", status=500)
    *calls, about = probed("litellm", provider, tmp_path)
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


def test_every_engine_of_dspy_has_one_call_below_its_module(provider: ScriptedProvider, tmp_path: Path) -> None:
    """Plain, awaited and streamed; a tool and a retriever have a span of their own."""
    provider.scripts["test"] = Script(gap=0.0005)
    *calls, about = probed("dspy", provider, tmp_path)
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
