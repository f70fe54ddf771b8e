"""An entry of a library that no place is left of is told of, in the version at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

PROGRAM = Path(__file__).with_name("seams.py")
LIBRARIES = ("litellm", "dspy")


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What was said and counted with the library as it is, and without each entry in turn."""
    found = {}
    for library in LIBRARIES:
        directory = str(tmp_path_factory.mktemp(library))
        run = subprocess.run(
            [sys.executable, str(PROGRAM), library],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": directory},
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert run.returncode == 0, run.stderr
        found[library] = [json.loads(line) for line in run.stdout.splitlines() if line.startswith('{"taken"')]
    return found


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_is_said_of_a_library_as_it_is(looked: dict[str, list[dict[str, Any]]], library: str) -> None:
    whole = looked[library][0]
    assert (whole["said"], whole["counted"]) == ([], [])
    assert any(states == ["found"] or "found" in states for states in whole["seams"].values())


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_entry_that_is_taken_away_is_named_once(looked: dict[str, list[dict[str, Any]]], library: str) -> None:
    """One warning has the library, its version and the entry; the counter has the entry while it is missing."""
    release = Version(version(library)).release
    without = [each for each in looked[library][1:] if each["existed"] and release >= tuple(each["since"])]
    assert len(without) > 5
    warned: set[str] = set()
    for each in without:
        entry = each["taken"]
        assert entry in each["counted"], entry
        assert set(each["seams"][entry]) == {"missing"}
        if entry in warned:
            assert each["said"] == []
            continue
        (warning,) = each["said"]
        assert entry in warning
        assert f"{library} {version(library)}" in warning
        warned.update(each["counted"])
