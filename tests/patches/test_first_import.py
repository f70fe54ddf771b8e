from __future__ import annotations

import importlib
import sys
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from wrapt import register_post_import_hook

from otel_tokenstream.core.emit.telemetry import telemetry_for
from otel_tokenstream.patches import dspy, first_import, litellm
from otel_tokenstream.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.table import PatchTable


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that copies a name between its modules while it is imported."""
    name = f"library_{tmp_path.name}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text(f"from {name}.inner import value\n", encoding="utf-8")
    (package / "inner.py").write_text("value = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    first_import.withdraw(name)
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


def test_it_comes_before_any_module_of_the_library(library: str) -> None:
    """Hooks that are registered then see the library's modules and the library itself."""
    seen: list[str] = []

    def register() -> None:
        seen.append("first")
        assert library not in sys.modules
        for name in (library, f"{library}.inner"):
            register_post_import_hook(lambda module: seen.append(module.__name__), name)

    first_import.before_import(library, register)
    importlib.import_module(f"{library}.inner")
    assert seen == ["first", f"{library}.inner", library]


def test_it_comes_once_and_not_after_it_was_withdrawn(library: str) -> None:
    """Looking for a library is enough; looking twice, or importing it then, does nothing more."""
    seen: list[str] = []
    first_import.before_import(library, lambda: seen.append("once"))
    assert find_spec(library) is not None
    importlib.import_module(library)
    assert seen == ["once"]

    del sys.modules[library]
    first_import.before_import(library, lambda: seen.append("never"))
    first_import.withdraw(library)
    importlib.import_module(library)
    assert seen == ["once"]


def test_a_fault_leaves_the_import_alone(library: str, caplog: pytest.LogCaptureFixture) -> None:
    """The program gets its library, and the log says what failed."""

    def fail() -> None:
        raise LookupError

    first_import.before_import(library, fail)
    assert importlib.import_module(library).value == 1
    assert "LookupError" in caplog.text


def test_a_second_thread_does_not_import_past_it(library: str) -> None:
    """While one thread prepares, another one's import waits, or it would find no hooks."""
    begun, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def prepare() -> None:
        begun.set()
        assert go_on.wait(60)
        order.append("prepared")

    def import_it() -> None:
        assert begun.wait(60)
        importlib.import_module(library)
        order.append("imported")

    first_import.before_import(library, prepare)
    looking = threading.Thread(target=find_spec, args=(library,))
    importing = threading.Thread(target=import_it)
    looking.start()
    importing.start()
    assert begun.wait(60)
    importing.join(0.3)
    go_on.set()
    looking.join(60)
    importing.join(60)
    assert order == ["prepared", "imported"]


@pytest.mark.parametrize(("library", "table"), [("litellm", litellm.table), ("dspy", dspy.table)], indirect=False)
def test_all_patches_are_of_the_library_that_is_waited_for(
    library: str, table: Callable[[Telemetry], PatchTable]
) -> None:
    """A module of another package could be imported before the hooks are there."""
    patches = table(telemetry_for(Settings()))._patches
    assert patches
    assert {name.partition(".")[0] for patch in patches for name in patch.awaited} == {library}
