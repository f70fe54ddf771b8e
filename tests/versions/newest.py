"""Run tests with what ``pip install litellm dspy`` gives today, without constraints, and prove which versions ran.

``python -m tests.versions.newest DIRECTORY [REQUIREMENT ...] -- PYTEST_ARGUMENT ...``; the environment is kept in the
directory and upgraded at each run. A requirement, like ``openai<3``, holds in every step. The exit
status is 1 where a newer litellm, DSPy or, unless it is required otherwise, openai could be had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tests.versions import environments

PROVEN = ("litellm", "dspy", "openai")
ABOVE = (
    *("anthropic", "langchain", "langchain-anthropic", "langchain-litellm", "langchain-openai", "langgraph"),
    "langchain-tests",
)
SHOWN = (
    *PROVEN,
    "httpx",
    "httpx2",
    "opentelemetry-sdk",
    "opentelemetry-distro",
    "wrapt",
    "langchain-core",
    "anthropic",
)


def of_the_index(python: Path, held: list[str]) -> dict[str, str]:
    """Return the versions that pip would install today into an empty environment."""
    command = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--dry-run",
        "--ignore-installed",
        "--report",
        "-",
    ]
    run = subprocess.run(
        [python, *command, "litellm", "dspy", *held], check=True, capture_output=True, text=True, timeout=600
    )
    metadata = [each["metadata"] for each in json.loads(run.stdout)["install"]]
    return {each["name"].lower(): each["version"] for each in metadata}


def main() -> None:
    about, arguments = sys.argv[1:], list[str]()
    if "--" in about:
        split = about.index("--")
        about, arguments = about[:split], about[split + 1 :]
    directory, *held = about
    # As a user does it: the libraries first, then ours with what its tests need.
    steps = (["litellm", "dspy", *held], [*held, "--editable", ".[demo]", *environments.TESTS, *ABOVE])
    python = environments.make(Path(directory).absolute(), *steps, newest=True)
    installed, newest = environments.versions(python, *SHOWN), of_the_index(python, held)
    print(", ".join(f"{name} {version}" for name, version in installed.items()), flush=True)
    old = [
        f"{name} {installed[name]}, pip installs {newest[name]}" for name in PROVEN if installed[name] != newest[name]
    ]
    wrong = [each for each in map(Requirement, held) if installed[each.name] not in each.specifier]
    if old or wrong:
        raise SystemExit("\n".join([*old, *(f"{each} does not hold" for each in wrong)]))
    environment = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    raise SystemExit(
        subprocess.run([python, "-m", "pytest", "-q", *arguments], check=False, env=environment).returncode
    )


if __name__ == "__main__":
    main()
