"""Builds the page that draws dashboards, once for each state of its sources, and keeps it in the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tokenstream" / "dashboards-harness"


def _digest(*paths):
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def available():
    """Return whether the page is built, or can be: it takes Node 20 with npm."""
    return _page().exists() or bool(shutil.which("node") and shutil.which("npm"))


def _packages():
    return _CACHE / f"packages-{_digest(HERE / 'package.json')}"


def _page():
    sources = [HERE / "build.mjs", HERE / "package.json", *HERE.glob("page/*")]
    return _CACHE / f"page-{_digest(*sources)}.js"


def built():
    """Return script, style sheet, directory of icons and directory of fonts.

    The first time takes two minutes and a package registry.
    """
    packages, page = _packages(), _page()
    if not (packages / "ready").exists():
        shutil.rmtree(packages, ignore_errors=True)
        packages.mkdir(parents=True)
        shutil.copy(HERE / "package.json", packages)
        # Two packages of Grafana's ask for an older React than Grafana itself.
        _run(["npm", "install", "--no-package-lock", "--legacy-peer-deps", "--no-audit", "--no-fund"], packages)
        (packages / "ready").touch()
    if not page.exists():
        _run(["node", str(HERE / "build.mjs"), str(packages)], packages)
        (packages / "page.css").replace(page.with_suffix(".css"))
        (packages / "page.js").replace(page)
    modules = packages / "node_modules"
    return page, page.with_suffix(".css"), modules / "@grafana/ui/dist/public", modules / "@fontsource"


def _run(command, directory):
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise RuntimeError(msg)


if __name__ == "__main__":
    print(built()[0])
