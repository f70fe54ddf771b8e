"""Nothing that asks a model is left out of what is patched, in the version at hand."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.patches.litellm import _FUNCTIONS
from otel_tokenstream.testing import capture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def settings_of_the_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read when they are imported, if that is not done yet."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path))


def places(functions: dict[int, Any]) -> set[tuple[str, str]]:
    """Where modules of litellm keep functions, which are given by their ids."""
    return {
        (module_name, name)
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] == "litellm"
        for name, kept in list(vars(module).items())
        if id(kept) in functions
    }


def test_no_place_keeps_a_function_of_litellms_as_it_was() -> None:
    """It would be called past all that litellm does around it: its cache and its retries."""
    functions = {}
    for made in {function.made for function in _FUNCTIONS}:
        with suppress(ImportError):  # of other versions
            module = importlib.import_module(made)
            found = [vars(module).get(function.name) for function in _FUNCTIONS if function.made == made]
            functions |= {id(function): function for function in found if function is not None}
    for name in ("google_genai", "passthrough", "anthropic_interface"):
        with suppress(ImportError):
            importlib.import_module(f"litellm.{name}")

    assert {("litellm.main", "completion"), ("litellm.main", "acompletion")} <= places(functions)
    with capture():
        assert places(functions) == set()


def test_every_optimizer_of_dspys_is_quiet() -> None:
    """Their thousands of calls are no calls of the program's."""
    import dspy

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
