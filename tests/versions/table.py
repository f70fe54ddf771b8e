"""Run tests/versions with every version of docs/versions.md, each in an environment of its own, and write the results.

``python -m tests.versions.table [NAME ...]`` runs the named rows, without a name all; the others keep their last
result. An environment is kept in .venv/versions until its requirements change. Pythons other than
this one are those on PATH: rows whose Python is missing are left out and named. The exit status is
1 where a test failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import parse

from packaging.requirements import Requirement

from tests.versions import environments

RESULTS = environments.ROOT / "docs" / "versions.json"
SHOWN = ("litellm", "dspy", "openai", "opentelemetry-sdk")
TESTS = ("pytest", "pytest-asyncio", "pytest-timeout")
OURS = ("--editable", ".[demo]", *TESTS)

# Row: (requirements, Python; none for the one that runs this).
ROWS: dict[str, tuple[list[str], str]] = {
    "oldest": (["--constraint", "constraints-oldest.txt"], ""),
    **{f"litellm-{each}": ([f"litellm=={each}.*"], "") for each in ("1.60", "1.80", "1.95", "1.104", "1.106", "1.109")},
    **{f"dspy-{each}": ([f"dspy=={each}.*"], "") for each in ("2.6.27", "3.0", "3.1", "3.2", "3.3", "3.4")},
    "openai-2": (["openai<3"], ""),
    "newest": ([], ""),
    **{f"python-{each}": ([], each) for each in ("3.10", "3.12", "3.13", "3.14")},
}


def run(name: str) -> dict[str, Any] | None:
    """Return a row of the results; None where its Python is not on this machine."""
    requirements, version = ROWS[name]
    if version and not has(version):
        print(f"{name}: there is no Python {version} on PATH")
        return None
    directory = environments.ROOT / ".venv" / "versions" / name
    # What has no bound in a row is today's newest, also where the environment was made another day.
    python = environments.make(
        directory, [*requirements, *OURS], python=version or sys.executable, newest=name != "oldest"
    )
    found = environments.versions(python, *SHOWN)
    for requirement in map(Requirement, requirements if "--constraint" not in requirements else ()):
        if found[requirement.name] not in requirement.specifier:
            message = f"{name}: {requirement.name} {found[requirement.name]} was installed"
            raise SystemExit(message)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [python, "-m", "pytest", "-q", "tests/versions", f"--junitxml={report}"],
            cwd=environments.ROOT,
            check=False,
            env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"},
        )
        cases = list(parse(report).iter("testcase"))
    failed = [each.attrib["name"] for each in cases if any(part.tag in ("failure", "error") for part in each)]
    skipped = sum(any(part.tag == "skipped" for part in each) for each in cases)
    return {**found, "passed": len(cases) - len(failed) - skipped, "skipped": skipped, "failed": failed}


def has(version: str) -> bool:
    """Whether uv finds this Python."""
    try:
        environments.uv("python", "find", "--no-python-downloads", version)
    except SystemExit:
        return False
    return True


def main() -> int:
    names = sys.argv[1:] or list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        message = f"unknown rows {', '.join(unknown)}; known are {', '.join(ROWS)}"
        raise SystemExit(message)
    failed = False
    for name in names:
        print(f"=== {name}", flush=True)
        result = run(name)
        if result is None:
            continue
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        known[name] = result
        kept = {each: known[each] for each in ROWS if each in known}
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        failed = failed or bool(result["failed"]) or not result["passed"]
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
