"""Nothing that asks a model is left out of what is patched, in the version at hand."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    import pytest

PROGRAM = Path(__file__).with_name("places.py")


def test_no_place_keeps_a_function_of_litellms_as_it_was() -> None:
    """It would be called past all that litellm does around it: its cache and its retries."""
    run = subprocess.run(  # what other tests have made litellm load keeps functions by names of its own
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    before, after = json.loads(run.stdout.splitlines()[-1])
    assert {"litellm.main.completion", "litellm.main.acompletion"} <= set(before)
    assert after == []


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
