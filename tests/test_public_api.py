"""The public API is complete: every type that a public signature names can be imported from the package."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import griffe
import pytest

import otel_tokenstream
from otel_tokenstream import instrument_options
from otel_tokenstream.instrumentors import PROVIDERS
from otel_tokenstream.settings import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
OF_THE_BASE_CLASS = {"skip_dep_check", "raise_exception_on_conflict"}
# Functions return them; no program makes one itself.
RETURNED = {"AsyncSubscription", "Attachment", "BrokerSink", "StreamText", "Tokens"}
CALLED = {"__call__", "__enter__", "__aenter__", "__init__"}


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    loaded = griffe.load("otel_tokenstream", search_paths=[ROOT], allow_inspection=False)
    assert isinstance(loaded, griffe.Module)
    return loaded


def _annotations(of: griffe.Object) -> Iterator[griffe.Expr]:
    """Yield the annotations of a public object: parameters, results, attributes, bases, public methods."""
    if isinstance(of, griffe.Function):
        found = [of.returns, *(parameter.annotation for parameter in of.parameters)]
    elif isinstance(of, griffe.Class):
        found = [*of.bases]
        for name, member in of.members.items():
            if not name.startswith("_") or name in CALLED - ({"__init__"} if of.name in RETURNED else set()):
                yield from _annotations(member)
    elif isinstance(of, griffe.Attribute):
        found = [of.annotation]
    else:
        found = []
    yield from (each for each in found if isinstance(each, griffe.Expr))


def test_every_type_of_a_public_signature_is_exported(package: griffe.Module) -> None:
    exported = {name: package[name] for name in otel_tokenstream.__all__ if name != "__version__"}
    public = {each.canonical_path for each in exported.values()}
    missing = {
        f"{name} names {part.canonical_path}"
        for name, of in exported.items()
        for annotation in _annotations(of.final_target if isinstance(of, griffe.Alias) else of)
        for part in annotation.iterate(flat=True)
        if isinstance(part, griffe.ExprName)
        and part.canonical_path.startswith("otel_tokenstream.")
        and part.canonical_path not in public
        and part.canonical_path != "otel_tokenstream.live.wire.Sent"  # what a consumer adds to a StreamText
        and not part.name.startswith("_")
        and not package[part.canonical_path.removeprefix("otel_tokenstream.")].is_attribute  # a type's short name
    }
    assert missing == set()


def test_every_exported_name_has_a_docstring_and_a_place_in_the_reference(package: griffe.Module) -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^::: otel_tokenstream\.(\w+)$", page, re.MULTILINE))
    exported = set(otel_tokenstream.__all__) - {"__version__"}
    assert exported <= documented
    assert [name for name in exported if not package[name].has_docstring] == []


def test_instrument_names_every_option() -> None:
    assert set(instrument_options.InstrumentOptions.__annotations__) == {
        *catalogue(),
        *PROVIDERS,
        *OF_THE_BASE_CLASS,
    }


def test_the_version_is_that_of_the_distribution() -> None:
    assert otel_tokenstream.__version__ == version("otel-tokenstream")
