"""Starts the real components on loopback with the shipped configuration."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from otel_tokenstream.demo.children import HOST, Children, end, free_port
from tests.stack.binaries import binary, tempo

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ROOT / "collector-config"
BACKENDS = ROOT / "backends"
RULES = ("objectives.yaml", "streams.yaml", "telemetry.yaml", "stack.yaml")
# A wait ends when its condition holds. The deadline is for what never comes, also where ten programs share a core.
PATIENCE = 5
# What people would call; links in alerts begin with them.
ADDRESSES = {"GRAFANA_URL": "http://grafana.example", "RUNBOOKS_URL": "http://runbooks.example"}


def compose_service(name):
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"][name]


def compose_layers():
    """The layers the compose file runs the Collector with."""
    return [Path(part.split("=", 1)[1]).name for part in compose_service("collector")["command"]]


@dataclass
class Collector:
    """A running Collector; ``out`` is where the test layer capture.yaml writes what leaves."""

    http: str
    grpc: str
    health: str
    out: Path
    process: object = None


@dataclass
class Stack:
    directory: Path
    children: Children
    ports: dict = field(default_factory=dict)
    collectors: dict = field(default_factory=dict)
    processes: dict = field(default_factory=dict)
    has_tempo: bool = False

    def url(self, name):
        return f"http://{HOST}:{self.port(name)}"

    def port(self, name):
        return self.ports.setdefault(name, free_port())

    def start(self):
        """Start the back ends at once, then the Collector, and wait until all are ready."""
        waiting = [self._prometheus(), self._loki(), self._alertmanager()]
        if tempo():
            waiting.append(self.start_tempo())
            self.has_tempo = True
        for name, process, path in waiting:
            self.processes[name] = process
            self.children.ready(name, process, f"{self.url(name)}{path}", within=180 * PATIENCE)
        extras = self.directory / "extras.yaml"
        extras.write_text(EXTRAS)
        layers = [LAYERS / name for name in compose_layers()]
        self.collector("collector", *[extras if path.name == "extras.yaml" else path for path in layers])

    def collector(self, name, *layers, environment=None, wrapper=()):
        out = self.directory / f"{name}-out"
        out.mkdir(exist_ok=True)
        ports = {part: free_port() for part in ("GRPC", "HTTP", "SELF", "HEALTH")}
        env = {
            **os.environ,
            **{f"OTELCOL_{part}_PORT": str(number) for part, number in ports.items()},
            "OTELCOL_STORAGE": str(self.directory / f"{name}-queue"),
            "OTELCOL_SELF_INTERVAL_MS": "5000",
            "TEMPO_OTLP_ENDPOINT": f"http://{HOST}:{self.port('tempo-otlp')}",
            "PROMETHEUS_OTLP_ENDPOINT": f"{self.url('prometheus')}/api/v1/otlp",
            "LOKI_OTLP_ENDPOINT": f"{self.url('loki')}/otlp",
            "SECOND_ENDPOINT": f"http://{HOST}:{self.port('second')}",
            "CAPTURE": str(out),
            **(environment or {}),
        }
        command = [*wrapper, str(binary("otelcol")), *[f"--config={path}" for path in layers]]
        process = self.children.start(name, command, env)
        collector = Collector(
            f"http://{HOST}:{ports['HTTP']}",
            f"{HOST}:{ports['GRPC']}",
            f"http://{HOST}:{ports['HEALTH']}",
            out,
            process,
        )
        self.children.ready(name, process, collector.health, within=60 * PATIENCE)
        self.collectors[name] = collector
        return collector

    def stop(self, name):
        end(self.collectors[name].process)

    def _data(self, name):
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def _prometheus(self):
        home = self._data("prometheus")
        shutil.copy(BACKENDS / "prometheus.yaml", home)
        (home / "rules").mkdir(exist_ok=True)
        for name in RULES:
            shutil.copy(ROOT / "grafana" / "alerts" / name, home / "rules")
        (home / "targets").mkdir(exist_ok=True)
        addresses = {name: f"{HOST}:{self.port(name)}" for name in ("tempo", "loki", "prometheus")}
        targets = [{"targets": [at], "labels": {"service_name": name}} for name, at in addresses.items()]
        (home / "targets" / "backends.yaml").write_text(json.dumps(targets if tempo() else targets[1:]))
        (home / "targets" / "alertmanagers.yaml").write_text(
            json.dumps([{"targets": [f"{HOST}:{self.port('alertmanager')}"]}])
        )
        flags = [
            part for part in compose_service("prometheus")["command"] if part.startswith(("--web.enable", "--enable"))
        ]
        command = [
            str(binary("prometheus")),
            f"--config.file={home}/prometheus.yaml",
            f"--storage.tsdb.path={home}/data",
            f"--web.listen-address={HOST}:{self.port('prometheus')}",
            *flags,
        ]
        return "prometheus", self.children.start("prometheus", command, {**os.environ, **ADDRESSES}), "/-/ready"

    def _loki(self):
        env = {
            **os.environ,
            "LOKI_LISTEN": HOST,
            "LOKI_PORT": str(self.port("loki")),
            "LOKI_GRPC_PORT": str(free_port()),
            "LOKI_DATA": str(self._data("loki")),
        }
        command = [str(binary("loki")), f"-config.file={BACKENDS}/loki.yaml", "-config.expand-env=true"]
        return "loki", self.children.start("loki", command, env), "/ready"

    def _alertmanager(self):
        command = [
            str(binary("alertmanager")),
            f"--config.file={BACKENDS}/alertmanager.yaml",
            f"--storage.path={self._data('alertmanager')}",
            f"--web.listen-address={HOST}:{self.port('alertmanager')}",
            "--cluster.listen-address=",
        ]
        return "alertmanager", self.children.start("alertmanager", command, dict(os.environ)), "/-/ready"

    def start_tempo(self):
        env = {
            **os.environ,
            "TEMPO_LISTEN": HOST,
            "TEMPO_PORT": str(self.port("tempo")),
            "TEMPO_GRPC_PORT": str(free_port()),
            "TEMPO_OTLP_PORT": str(self.port("tempo-otlp")),
            "TEMPO_DATA": str(self._data("tempo")),
        }
        command = [tempo(), "-target=all", f"-config.file={BACKENDS}/tempo.yaml", "-config.expand-env=true"]
        return "tempo", self.children.start("tempo", command, env), "/ready"


# The seam for one's own, used as its comment shows: a second copy of all traces.
EXTRAS = """
exporters:
  otlp_http/second:
    endpoint: ${env:SECOND_ENDPOINT}
    sending_queue: {batch: {flush_timeout: 200ms}}
service:
  pipelines:
    traces/second:
      receivers: [otlp]
      processors: [memory_limiter, redaction, transform/redaction, transform/names]
      exporters: [otlp_http/second]
"""


def wait_until(true, within, every=0.5, what="it"):
    """Return the first true answer, or fail with the last one. ``within`` is the time it takes on a free machine."""
    deadline = time.monotonic() + PATIENCE * within
    while not (answer := true()):
        if time.monotonic() > deadline:
            msg = f"{what} did not happen within {PATIENCE * within:g} s; the last answer was {answer!r}"
            raise AssertionError(msg)
        time.sleep(every)
    return answer
