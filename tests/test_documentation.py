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
PACKAGE = ROOT / "otel_tokenstream"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GETTING_STARTED = ROOT / "docs" / "getting-started.md"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_documentation_agrees_with_the_code(generator: ModuleType) -> None:
    """After a change of signals or settings the pages were written anew, by make docs."""
    assert generator.stale() == []


def test_a_version_in_which_a_test_failed_is_not_claimed(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """README.md names the span of what passed, in the order of versions, and says that there is more."""
    rows = {
        litellm: {
            "litellm": litellm,
            "dspy": "3.4.1",
            "openai": "3.57.0",
            "opentelemetry-sdk": "1.45.2",
            "python": python,
        }
        | {"passed": passed, "skipped": 0, "failed": failed}
        for litellm, python, passed, failed in (
            ("1.60.9", "3.9.1", 9, ["test_one"]),
            ("1.80.16", "3.10.13", 10, []),
            ("1.110.2", "3.11.7", 10, []),
        )
    }
    monkeypatch.setattr(generator, "results", lambda: rows)
    claim = generator.versions_short()
    assert "litellm 1.80.16 to 1.110.2, DSPy 3.4.1," in claim
    assert "Python 3.10.13 to 3.11.7; 1 of 3 environments have failures" in claim
    assert "| `1.60.9` | 1.60.9 | 3.4.1 | 3.57.0 | 1.45.2 | 3.9.1 | 9 passed, 1 failed: `test_one` |" in (
        generator.versions_page()
    )


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


def test_the_code_that_instruments_runs_as_shown() -> None:
    block = re.search(
        r"```python\n(from otel_tokenstream.*?)```", GETTING_STARTED.read_text(encoding="utf-8"), re.DOTALL
    )
    assert block is not None
    instrumentors = (otel_tokenstream.LiteLLMInstrumentor(), otel_tokenstream.DSPyInstrumentor())
    try:
        exec(compile(block[1], GETTING_STARTED.name, "exec"), {})
        assert all(each.is_instrumented_by_opentelemetry for each in instrumentors)
    finally:
        for each in instrumentors:
            each.uninstrument()


def test_the_configuration_file_is_accepted_as_shown() -> None:
    """The keys of the configuration file are entry points, and what they take are settings."""
    import yaml

    block = re.search(r"```yaml\n(.*?)```", GETTING_STARTED.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    options = yaml.safe_load(block[1])["instrumentation/development"]["python"]
    assert set(options) == {
        f"tokenstream_{each}"
        for each in ("litellm", "dspy", "langchain", "openai", "anthropic", "lionagi", "lionpride")
    }
    assert all(set(each) <= set(catalogue()) for each in options.values())


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/how-it-works.md", "docs/adding-a-library.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    """The pages lead to where a bucket bound is set, a frame is decoded, a span ends and a default stands."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:otel_tokenstream|tests|docs|grafana|benchmarks|patches)/[\w./-]+)`", text))
    assert named
    assert [each for each in sorted(named) if not ((ROOT / each).exists() or (PACKAGE / each).exists())] == []


def test_answers_of_the_five_questions_hold() -> None:
    """Each answer names the file in which the thing is defined, not one that mentions it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    answers = dict(re.findall(r"^\| ([^|]+\?) \|[^`\n]*`([^`]+)`", text, re.MULTILINE))
    defined = {
        "Where is the bound of a bucket set?": "buckets",
        "Where is a frame of Bedrock decoded?": "class EventStream",
        "What makes a span end?": "def _next",
        "Where does a setting's default stand?": "default",
        "What has to be written for another library?": "",
    }
    assert set(answers) == set(defined)
    for question, definition in defined.items():
        answer = ROOT / answers[question]
        assert answer.is_dir() or definition in answer.read_text(encoding="utf-8")
