"""Environments of their own, made with uv in seconds and kept until something else is asked for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tokenstream" / "environments"
_KEPT = 7 * 86_400  # seconds without a use

# What the tests of versions, endings and patches need beside the package, without a library that
# would hold litellm, DSPy or OpenTelemetry back.
TESTS = [
    "apscheduler",
    "backoff",
    "cloudpickle",
    "cryptography",
    "expression",
    "fastapi",
    "fastapi-sso",
    "httpx",
    "hypothesis",
    "mcp",
    "orjson",
    "psutil",
    "pyjwt",
    "pynacl",
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",
    "python-multipart",
    "redis",
    "semver",
    "soundfile",
    "uvicorn",
    "websockets",
]


def uv(*arguments: str | Path) -> str:
    """Run uv, which stands beside this interpreter.

    Raises:
        SystemExit: it failed, or is not there.

    """
    command = Path(sys.executable).with_name("uv")
    if not command.exists():
        message = f"{command} is missing: run make .venv/bin/uv"
        raise SystemExit(message)
    run = subprocess.run([command, *arguments], check=False, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    return run.stdout


def make(directory: Path, *steps: Sequence[str], python: str = sys.executable, newest: bool = False) -> Path:
    """Return the interpreter of an environment into which ``steps`` were installed, one after the other.

    With ``newest`` every step is repeated with today's newest versions; else an environment that was
    made by the same steps is taken as it is.
    """
    ready, asked = directory / "ready.json", json.dumps([python, *steps])
    interpreter = directory / "bin" / "python"
    known = ready.exists() and ready.read_text() == asked
    if not known:
        uv("venv", "--quiet", "--clear", "--seed", "--no-python-downloads", "--python", python, directory)
    if not known or newest:
        for step in steps:
            upgrade = ["--upgrade"] if newest else []
            uv("pip", "install", "--quiet", "--compile-bytecode", *upgrade, "--python", interpreter, *step)
        ready.write_text(asked)
    ready.touch()
    return interpreter


def of_a_user(wheel: Path) -> Path:
    """Return the interpreter of ``pip install "otel-tokenstream[auto]" litellm dspy``, with this wheel as ours."""
    for ready in CACHE.glob("user-*/environment/ready.json"):
        if time.time() - ready.stat().st_mtime > _KEPT:
            shutil.rmtree(ready.parents[1], ignore_errors=True)
    content = hashlib.sha256(wheel.read_bytes() + sys.version.encode()).hexdigest()[:16]
    kept = CACHE / f"user-{content}" / wheel.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, kept)
    return make(kept.parent / "environment", [f"{kept}[auto]", "litellm", "dspy"])


def build_wheel(directory: Path) -> Path:
    """Build the checkout's wheel; the same content gives the same bytes."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=180)
    (wheel,) = directory.glob("*.whl")
    return wheel


def versions(python: Path, *names: str) -> dict[str, str]:
    """Return what the environment itself says is installed, for those that are, and its Python."""
    code = (
        "import json, platform, sys\n"
        "from importlib.metadata import PackageNotFoundError, version\n"
        "found = {'python': platform.python_version()}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    run = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True, timeout=180)
    found: dict[str, str] = json.loads(run.stdout)
    return found
