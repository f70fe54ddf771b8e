"""The compose file, read by the Compose specification's own loader. There is no container engine here."""

from __future__ import annotations

import json
import subprocess

import pytest
from binaries import binary
from servers import ROOT


def load(text, directory):
    path = directory / "docker-compose.yml"
    path.write_text(text)
    return subprocess.run(
        [binary("compose"), "-format", "json", path], cwd=directory, capture_output=True, text=True, check=False
    )


def test_the_loader_takes_the_file(tmp_path):
    """Schema and anchors; references are checked with the files of the bundle."""
    done = load((ROOT / "docker-compose.yml").read_text(), tmp_path)
    assert not done.returncode, done.stderr
    services = json.loads(done.stdout)["services"]
    assert {"collector", "tempo", "prometheus", "loki", "grafana"} <= services.keys()


@pytest.mark.parametrize(("right", "wrong"), [("mem_limit: 512m", "memory_limit: 512m"), ("cap_drop:", "capdrop:")])
def test_the_loader_would_refuse_mistakes(tmp_path, right, wrong):
    """So that its silence above means something."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert right in text
    assert load(text.replace(right, wrong), tmp_path).returncode
