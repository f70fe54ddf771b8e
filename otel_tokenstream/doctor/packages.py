"""Python and the installed packages: against what was tested, and what streams without being covered."""

from __future__ import annotations

import json
import platform
import sys
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning
from otel_tokenstream.doctor.surroundings import normalized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.doctor.surroundings import Surroundings

OURS = "otel-tokenstream"
_EXTRAS = ("auto", "otlp", "redis", "rabbitmq", "viewer")
_SHOWN = ("opentelemetry-sdk", "opentelemetry-instrumentation")

# Libraries that ask language models and stream their answers.
_STREAMING = (
    "ai21",
    "anthropic",
    "cerebras-cloud-sdk",
    "cohere",
    "crewai",
    "google-genai",
    "google-generativeai",
    "groq",
    "haystack-ai",
    "instructor",
    "langchain-core",
    "llama-index-core",
    "mistralai",
    "ollama",
    "openai",
    "openai-agents",
    "pydantic-ai",
    "pydantic-ai-slim",
    "semantic-kernel",
    "smolagents",
    "together",
)


@cache
def tested() -> dict[str, str]:
    """Return the newest version of each library in which all tests passed."""
    found: dict[str, str] = json.loads(files(__package__).joinpath("tested.json").read_text(encoding="utf-8"))
    return found


def _python(around: Surroundings) -> Iterator[Finding]:
    running = platform.python_version()
    classified = around.packages[OURS].metadata.get_all("Classifier") or []
    supported = [
        each.rpartition(" ")[2]
        for each in classified
        if each.startswith("Programming Language :: Python :: 3.") and each.rpartition(" ")[2][-1].isdigit()
    ]
    told = f"{supported[0]} to {supported[-1]}"
    if f"{sys.version_info[0]}.{sys.version_info[1]}" in supported:
        yield ok(f"Python {running}; {told} are supported")
    else:
        yield warning(f"Python {running} is not among those tested, {told}", f"use Python {supported[-1]}")


def _versions(around: Surroundings) -> Iterator[Finding]:
    unfit = list(_unfit(around))
    for requirement, extra, installed in unfit:
        wanted = f"{OURS}[{extra}]" if extra else OURS
        yield fault(
            f"{requirement.name} {installed} is installed, {requirement.name}{requirement.specifier} is needed",
            f'pip install --upgrade "{wanted}" "{requirement.name}{requirement.specifier}"',
        )
    known = {requirement.name for requirement, _, _ in unfit}
    libraries = [each.package for each in around.libraries]
    newer = [(name, version) for name in libraries if (version := _newer(around, name)) and name not in known]
    for name, version in newer:
        yield warning(
            f"{name} {version} is newer than the newest one tested, {tested()[name]}",
            f"pip install --upgrade {OURS}",
        )
    if not unfit and not newer:
        shown = [f"{name} {version}" for name in (OURS, *libraries, *_SHOWN) if (version := around.version(name))]
        yield ok(", ".join(shown))


def _unfit(around: Surroundings) -> Iterator[tuple[Requirement, str, str]]:
    """Yield what is installed in a version outside our own metadata's range, with the extra that asks for it."""
    told = set()
    for requirement in map(Requirement, around.packages[OURS].requires or ()):
        installed = around.version(requirement.name)
        extra = _extra(requirement, [each.extra for each in around.libraries])
        if installed is None or extra is None or requirement.name in told:
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            told.add(requirement.name)
            yield requirement, extra, installed


def _extra(requirement: Requirement, libraries: list[str]) -> str | None:
    """Return the extra that asks for a requirement, empty for the base install, None for those of developers."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    extras = (*libraries, *_EXTRAS)
    return next((extra for extra in extras if requirement.marker.evaluate({"extra": extra})), None)


def _newer(around: Surroundings, name: str) -> str | None:
    installed = around.version(name)
    try:
        return installed if installed and name in tested() and Version(installed) > Version(tested()[name]) else None
    except InvalidVersion:  # of a private build
        return installed


def _uncovered(around: Surroundings) -> Iterator[Finding]:
    # A package that came with another one is not called by the program.
    brought = {*_required_by_others(around), *(each.package for each in around.libraries)}
    instrumented = " ".join(f"{entry.name} {entry.value}" for entry in around.instrumentors).replace("_", "-")
    found = [
        name for name in _STREAMING if name in around.packages and name not in brought and name not in instrumented
    ]
    if found:
        yield warning(
            f"{', '.join(found)} can stream too, and nothing here instruments it: its calls have no spans",
            "call the model through a library that is instrumented, or install an instrumentation of that one",
        )
    else:
        yield ok("no other library that streams is installed by itself")


def _required_by_others(around: Surroundings) -> Iterator[str]:
    for name, package in around.packages.items():
        if name == OURS:
            continue
        for text in package.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield normalized(requirement.name)


CHECKS = (
    Check("python", "whether this Python is among those tested", _python),
    Check("versions", "packages outside the supported range, and libraries newer than the newest tested", _versions),
    Check("uncovered", "installed libraries that stream and that nothing instruments", _uncovered),
)
