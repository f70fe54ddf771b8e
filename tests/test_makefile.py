"""The Makefile's targets on a fresh clone, where nothing is installed yet."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "Makefile").read_text()
DOCUMENTED = sorted(set(re.findall(r"^#   make ([a-z][a-z0-9-]*)", TEXT, re.MULTILINE)))
# They make no environment, or build llama.cpp, ask registries or a container engine first.
OTHERS = {"clean", "secrets", "lock-images", "pins", "test-slow"}
QUICK_PYTHON = """#!/bin/sh
case "$*" in
  --version) echo "Python 3.0 of a test" ;;
  -c*ensurepip*) ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """The files that are committed or about to be, and nothing else."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    if listed.returncode or not names:
        pytest.skip("not a git checkout")
    for name in ("Makefile", "stack.mk", "pyproject.toml", "constraints.txt", "constraints-oldest.txt"):
        assert name in names
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


@pytest.fixture(scope="module")
def quick_python(tmp_path_factory):
    """A directory with a python3 that makes environments at once, in which nothing is installed."""
    directory = tmp_path_factory.mktemp("quick")
    program = directory / "python3"
    program.write_text(QUICK_PYTHON)
    program.chmod(0o755)
    return directory


def made(clone, target, *, path=os.environ["PATH"]):
    """What make says of a target. What it installs, and what it does with that, is left away."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "MAKE"))
    }
    done = subprocess.run(
        ["make", target, "INSTALL=:", "NAME=progress"],
        cwd=clone,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No Python" not in done.stderr
    assert (clone / ".venv" / "made").exists()
    return done.stdout


@pytest.mark.parametrize("target", [name for name in DOCUMENTED if name not in OTHERS])
def test_a_target_makes_its_environment_on_a_fresh_clone(clone, target, quick_python):
    """The interpreter is found by whoever asks first: a variable of one target is its prerequisites' as well."""
    said = made(clone, target, path=f"{quick_python}{os.pathsep}{os.environ['PATH']}")
    assert "Making .venv with Python 3.0 of a test" in said


def test_the_environment_is_a_real_one(clone):
    """Of an interpreter of this machine, with the pip that installs into it."""
    assert "Making .venv with Python 3" in made(clone, "demo")
    assert (clone / ".venv" / "bin" / "pip").exists()


def test_without_docker_lock_images_says_so_and_leaves_the_digests_alone(clone, tmp_path_factory):
    """The digests of the last time are worth more than an empty file."""
    programs = tmp_path_factory.mktemp("programs")
    for name in ("make", "sh", "sed", "mv"):
        (programs / name).symlink_to(shutil.which(name))
    locked = clone / "docker-compose.lock.yml"
    locked.write_text("services: {}\n")
    command = ["make", "lock-images", "SHELL=sh"]
    done = subprocess.run(
        command, cwd=clone, env={"PATH": str(programs), "HOME": str(clone)}, capture_output=True, text=True, check=False
    )
    assert done.returncode
    assert "needs Docker with Compose" in done.stderr
    assert locked.read_text() == "services: {}\n"


def test_ci_begins_with_a_target_that_makes_its_environment():
    """CI works in a fresh clone: the first target of all finds nothing, and must make what it needs."""
    first = re.search(r"make ([a-z-]+)", (ROOT / ".ci" / "run").read_text().partition('phase "System')[2])
    assert first is not None
    assert first[1] == "check-dashboards"
