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


@pytest.mark.parametrize("target", [name for name in DOCUMENTED if name not in OTHERS])
def test_a_target_makes_its_environment_on_a_fresh_clone(clone, target):
    """The interpreter is found by whoever asks first: a variable of one target is its prerequisites' as well.

    What is installed then, and what the target does with it, is left away.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "MAKE"))
    }
    done = subprocess.run(
        ["make", target, "INSTALL=:", "NAME=progress"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No Python" not in done.stderr
    assert "Making .venv with Python 3" in done.stdout
    assert (clone / ".venv" / "made").exists()


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
