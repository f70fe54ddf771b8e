from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import otel_tokenstream
from otel_tokenstream.settings import catalogue

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documentation_is_what_the_code_says(generator: ModuleType) -> None:
    """After a change of signals or settings the pages were written anew, by make docs."""
    assert generator.stale() == []


@every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """A reader who follows a link of ours arrives."""
    for target in re.findall(
        r"(?:\]\(|(?:src|href)=\")(?!https?://|mailto:)([^)\"\s]+)", page.read_text(encoding="utf-8")
    ):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}, target


@every_page
def test_variables_that_are_named_exist(page: Path) -> None:
    """A page that names a setting of ours names it as it is called."""
    named = set(re.findall(r"OTEL_TOKENSTREAM_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
    assert named <= {setting.environment for setting in catalogue().values()}


@every_page
def test_files_that_are_named_exist(page: Path) -> None:
    """Where to change what stands where the page says."""
    places = r"`((?:otel_tokenstream|tests|docs|grafana|benchmarks|examples|collector-config|backends)/[\w./-]*)`"
    for name in re.findall(places, page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


@every_page
def test_make_targets_that_are_named_exist(page: Path) -> None:
    """A command to type is one that make knows."""
    rules = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "stack.mk"))
    known = set(re.findall(r"^([a-z-]+):", rules, re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    assert named <= known


def test_readme_instruments_in_code_as_shown() -> None:
    """The block of the README runs as it stands."""
    block = re.search(
        r"```python\n(from otel_tokenstream.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert block is not None
    instrumentors = (otel_tokenstream.LiteLLMInstrumentor(), otel_tokenstream.DSPyInstrumentor())
    try:
        exec(compile(block[1], "README.md", "exec"), {})
        assert all(each.is_instrumented_by_opentelemetry for each in instrumentors)
    finally:
        for each in instrumentors:
            each.uninstrument()


def test_readme_configures_in_a_file_as_shown() -> None:
    """The keys of the configuration file are entry points, and what they take are settings."""
    import yaml

    block = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    options = yaml.safe_load(block[1])["instrumentation/development"]["python"]
    assert set(options) == {"tokenstream_litellm", "tokenstream_dspy"}
    assert all(set(each) <= set(catalogue()) for each in options.values())
