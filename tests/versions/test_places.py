"""The places that are patched, in the version at hand.

Nothing that asks a model is left out of them, and an entry of a library that no place is left of is told of.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from otel_tokenstream.testing import capture

PROGRAM = Path(__file__).with_name("seams.py")
LIBRARIES = ("litellm", "dspy")


@dataclass(frozen=True)
class Looked:
    """Where litellm keeps functions, and what was said and counted with and without each entry of a library."""

    places: dict[str, list[str]]
    seams: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looked:
    directory = str(tmp_path_factory.mktemp("cache"))
    run = subprocess.run(  # what other tests have made litellm load keeps functions by names of its own
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "DSPY_CACHEDIR": directory},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    places, *seams = [
        json.loads(line) for line in run.stdout.splitlines() if line.startswith(('{"before"', '{"library"'))
    ]
    return Looked(places, {name: [each for each in seams if each["library"] == name] for name in LIBRARIES})


def test_no_place_keeps_a_function_of_litellms_as_it_was(looked: Looked) -> None:
    """It would be called past all that litellm does around it: its cache and its retries."""
    assert {"litellm.main.completion", "litellm.main.acompletion"} <= set(looked.places["before"])
    assert looked.places["after"] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_is_said_of_a_library_as_it_is(looked: Looked, library: str) -> None:
    whole = looked.seams[library][0]
    assert (whole["said"], whole["counted"]) == ([], [])
    assert any(states == ["found"] or "found" in states for states in whole["seams"].values())


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_entry_that_is_taken_away_is_named_once(looked: Looked, library: str) -> None:
    """One warning has the library, its version and the entry; the counter has the entry while it is missing."""
    release = Version(version(library)).release
    without = [each for each in looked.seams[library][1:] if each["existed"] and release >= tuple(each["since"])]
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


def test_every_optimizer_of_dspys_is_quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Their thousands of calls are no calls of the program's."""
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path))  # read when DSPy is imported, if that is not done yet
    dspy = importlib.import_module("dspy")

    for module in pkgutil.walk_packages(dspy.teleprompt.__path__, "dspy.teleprompt."):
        with suppress(ImportError):  # needs what is not installed
            importlib.import_module(module.name)
    optimizers, compiling = [dspy.teleprompt.Teleprompter], {}
    for optimizer in optimizers:
        optimizers += optimizer.__subclasses__()
        if optimizer.__module__.startswith("dspy.") and "compile" in vars(optimizer):
            compiling[optimizer] = vars(optimizer)["compile"]
    for name in ("Teleprompter", "LabeledFewShot", "Ensemble"):  # call no program
        del compiling[getattr(dspy.teleprompt, name)]

    assert len(compiling) > 5
    with capture():
        assert [optimizer for optimizer, compile_ in compiling.items() if vars(optimizer)["compile"] is compile_] == []
