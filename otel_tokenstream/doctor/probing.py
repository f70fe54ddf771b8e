"""The seams of each library in its installed version, and each of its public entries called once.

A release that moves what is patched is named the day it comes: by the seam that is not found, or by a call whose
span, chunks or outcome are not what the program had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning
from otel_tokenstream.doctor.probes import MISSING_PARTS
from otel_tokenstream.doctor.secrets import hidden

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tokenstream.doctor.surroundings import Surroundings

_LONGEST = 600.0  # seconds
_MODELS = ("test", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash")
# Variables that would change where a call goes, or how.
_LEFT_OUT = ("OTEL_", "LITELLM_", "DSPY_")
_LEFT_OUT_ENDS = ("_PROXY", "_API_KEY", "_BASE_URL", "_API_BASE")


@dataclass(frozen=True)
class Probed:
    """``calls`` and ``about`` are as ``probes.__main__`` writes them; ``problem`` is why there are none."""

    calls: list[dict[str, Any]]
    about: Mapping[str, Any]
    problem: str = ""


def _seams(around: Surroundings) -> Iterator[Finding]:
    for name, probed in _probed(around):
        if probed.problem:
            continue
        told = f"{name} {probed.about['version']}"
        if probed.about["missing"]:
            yield fault(
                f"{told} has none of the functions that are patched for {', '.join(probed.about['missing'])}: "
                "these calls have no spans",
                "pip install --upgrade otel-tokenstream",
            )
        else:
            yield ok(f"{told}: each of {probed.about['entries']} entries has a place")


def _calls(around: Surroundings) -> Iterator[Finding]:
    if _can_probe(around) and find_spec("aiohttp") is None:
        seen = "nothing was called: the scripted provider needs aiohttp"
        yield warning(seen, 'pip install "otel-tokenstream[viewer]"')
    for name, probed in _probed(around):
        if probed.problem:
            yield fault(f"{name} could not be called: {probed.problem}", f'python -c "import {name}"')
            continue
        wrong = [said for call in probed.calls if (said := _wrong(call, probed.about["missing"]))]
        if wrong:
            seen = f"{name} {probed.about['version']}: {'; '.join(wrong)}"
            yield fault(seen, "pip install --upgrade otel-tokenstream")
        elif not probed.about["missing"]:
            answered = sum(call["error"] is None for call in probed.calls)
            yield ok(f"{name}: {answered} calls, each with one span, its chunks and its outcome")


def _wrong(call: Mapping[str, Any], missing: list[str]) -> str:
    """Return what is wrong with what was recorded of a call, empty if nothing is or a missing seam explains it."""
    if call["entry"] in missing:
        return ""
    if call["error"] is not None:
        lacks = any(word in call["error"] for word in MISSING_PARTS)
        return "" if lacks else f"{call['name']} fails with {call['error'][:200]}"
    spans = [each for each in call["spans"] if _is_of(call, each)]
    if len(spans) != 1:
        return f"{call['name']} has {len(spans) or 'no'} span{'s' if len(spans) > 1 else ''}"
    name, outcome, chunks = spans[0]
    if not call["is_call"]:
        return ""
    if not name.startswith(call["first"]):
        return f"the span of {call['name']} is named {name!r}"
    if outcome != "completed":
        return f"{call['name']} is {outcome}"
    expected = call["chunks"]
    fits = chunks == expected if call["is_exact"] or not expected else (chunks or 0) >= expected
    return "" if fits else f"{call['name']} counts {chunks} chunks of {expected}"


def _is_of(call: Mapping[str, Any], span: list[Any]) -> bool:
    return span[1] is not None if call["is_call"] else span[0].startswith(call["first"])


def _can_probe(around: Surroundings) -> bool:
    return around.probe and around.has_sdk and bool(around.recorded)


def _probed(around: Surroundings) -> Iterator[tuple[str, Probed]]:
    if _can_probe(around) and find_spec("aiohttp") is not None:
        for library in around.recorded:
            yield library.package, _run(library.module, tuple(sorted(around.environ.items())))


@cache
def _run(name: str, environ: tuple[tuple[str, str], ...]) -> Probed:
    from otel_tokenstream.demo.provider import Script, ScriptedProvider  # noqa: PLC0415  # needs aiohttp

    with tempfile.TemporaryDirectory(prefix="otel-tokenstream-doctor-") as directory, ScriptedProvider() as provider:
        if name == "litellm":
            provider.scripts.update(dict.fromkeys(_MODELS, Script(pieces=list("abcd"), gap=0.002)))
        else:  # DSPy reads the format it asked for
            provider.scripts["test"] = Script(gap=0.0005)
        provider.scripts["broken"] = Script(ending="http_error", status=500)
        command = [sys.executable, "-m", "otel_tokenstream.doctor.probes", name, provider.base_url]
        try:
            done = subprocess.run(  # noqa: S603  # our own command
                command,
                env=_environment(dict(environ), directory),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Probed([], {}, f"its calls did not end within {_LONGEST:g} s")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(('{"name"', '{"version"'))]
    if not lines or "version" not in lines[-1]:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        return Probed([], {}, hidden(said[-1], dict(environ)) if said else f"exit code {done.returncode}")
    return Probed(lines[:-1], lines[-1])


def _environment(environ: Mapping[str, str], directory: str) -> dict[str, str]:
    """Return the environment without anybody's keys, addresses and proxies."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(_LEFT_OUT) and not name.upper().endswith(_LEFT_OUT_ENDS)
    }
    return {
        **kept,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "DSPY_CACHEDIR": os.path.join(directory, "dspy"),  # noqa: PTH118  # a text is wanted
        "PYTHONIOENCODING": "utf-8",
    }


CHECKS = (
    Check("seams", "each place where a library is patched, in the installed version", _seams, "litellm, auto"),
    Check(
        "probe",
        "each public entry called once on a scripted provider on this machine: span, chunk count and outcome compared",
        _calls,
        "litellm, auto",
    ),
)
