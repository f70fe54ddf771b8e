"""Prints where litellm keeps its functions, and where it does so still once they are patched."""

from __future__ import annotations

import importlib
import json
import sys
from contextlib import suppress
from typing import Any

import litellm  # noqa: F401  # it decides what is loaded

from otel_tokenstream.patches.litellm import _FUNCTIONS
from otel_tokenstream.testing import capture


def places(functions: dict[int, Any]) -> list[str]:
    return [
        f"{module_name}.{name}"
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] == "litellm"
        for name, kept in list(vars(module).items())
        if id(kept) in functions
    ]


functions = {}
for made in {function.made for function in _FUNCTIONS}:
    with suppress(ImportError):  # of other versions
        module = importlib.import_module(made)
        found = [vars(module).get(function.name) for function in _FUNCTIONS if function.made == made]
        functions |= {id(function): function for function in found if function is not None}
for name in ("google_genai", "passthrough", "anthropic_interface"):
    with suppress(ImportError):
        importlib.import_module(f"litellm.{name}")

before = places(functions)
with capture():
    print(json.dumps([before, places(functions)]))
