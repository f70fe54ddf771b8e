from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.commands.run import environment_for
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.viewer import running
from tests import zero_code
from tests.viewer.viewer_client import detail, get, streams

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.viewer.server import Viewer

URL = "http://127.0.0.1:4318"
APP = """
import json, os, sys
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("OTEL_")}), flush=True)
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
for _ in client.chat.completions.create(model="test", messages=[{"role": "user", "content": "x"}], stream=True):
    pass
sys.exit(int(sys.argv[2]))
"""


def program(directory: Path) -> list[str]:
    path = directory / "shop.py"
    path.write_text(APP)
    return [sys.executable, str(path)]


def command(port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "otel_tokenstream.cli", "run", "--http-port", str(port), *more, "--"]


def environment(**more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**plain, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": zero_code.OTHERS, **more}


def free_port() -> int:
    with running() as viewer:
        return viewer.http_port


def told(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[0])
    return found


def test_a_program_is_shown_by_a_viewer_that_is_started_for_it(provider: ScriptedProvider, tmp_path: Path) -> None:
    """Its stream is stored with its log events, and the exit code is the program's own."""
    provider.scripts["test"] = Script(pieces=["x"] * 5)
    database = tmp_path / "viewer.db"
    result = subprocess.run(
        [*command(free_port(), "--database", str(database)), *program(tmp_path), provider.base_url, "3"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )

    assert result.returncode == 3, result.stderr
    assert "started a viewer" in result.stderr
    with running(database=database) as viewer:
        (stream,) = streams(viewer)
        assert (stream["service"], stream["outcome"]) == ("shop", "completed")
        names = {each["name"] for each in detail(viewer, (stream["trace_id"], stream["span_id"]))["events"]}
    assert "tokenstream.token" in names


def test_a_viewer_that_runs_is_used(viewer: Viewer, provider: ScriptedProvider, tmp_path: Path) -> None:
    """None is started beside it."""
    provider.scripts["test"] = Script(pieces=["x"] * 5)
    result = subprocess.run(
        [*command(viewer.http_port), *program(tmp_path), provider.base_url, "0"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert "started" not in result.stderr
    assert [each["outcome"] for each in streams(viewer)] == ["completed"]
    assert get(viewer, "/api/metrics")["metrics"]


def test_an_endpoint_of_ones_own_is_left_alone(viewer: Viewer, provider: ScriptedProvider, tmp_path: Path) -> None:
    """Telemetry goes where it was sent; nothing is started, and other variables that were set stay too."""
    provider.scripts["test"] = Script(pieces=["x"])
    theirs = {"OTEL_EXPORTER_OTLP_ENDPOINT": viewer.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    result = subprocess.run(
        [*command(free_port()), *program(tmp_path), provider.base_url, "0"],
        env=environment(**theirs, OTEL_SERVICE_NAME="mine", OTEL_TOKENSTREAM_EVENTS="span"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set" in result.stderr
    assert [each["service"] for each in streams(viewer)] == ["mine"]
    assert told(result)["OTEL_TOKENSTREAM_EVENTS"] == "span"


def test_a_port_that_something_else_has_is_told(provider: ScriptedProvider) -> None:
    """The scripted provider is no viewer."""
    port = int(provider.base_url.rsplit(":", 1)[1].partition("/")[0])
    result = subprocess.run(
        [*command(port), sys.executable, "-c", "print('ran')"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.strip().endswith("is no viewer; give another address or port")
    assert "ran" not in result.stdout


@pytest.mark.parametrize(("name", "code", "said"), [("nosuchprogram", 127, "not found"), ("app.py", 126, "not exec")])
def test_a_program_that_cannot_be_run_is_told_before_a_viewer_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, code: int, said: str
) -> None:
    """With the exit code that a shell has for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("")
    assert main(["run", "--http-port", "9", "--", name if code == 127 else f"./{name}"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{name}: {said}" in line


def test_sigterm_reaches_the_program(viewer: Viewer, tmp_path: Path) -> None:
    """A supervisor that stops the command stops what it runs."""
    script = tmp_path / "waits.py"
    script.write_text("import time\nprint('here', flush=True)\ntime.sleep(600)\n")
    process = subprocess.Popen(
        [*command(viewer.http_port), sys.executable, str(script)], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 128 + signal.SIGTERM
    process.stdout.close()


@pytest.mark.parametrize(
    ("words", "name"),
    [(["python", "app.py", "x"], "app"), (["python", "-m", "shop.web"], "shop.web"), (["/usr/bin/worker"], "worker")],
)
def test_a_service_is_named_after_its_program(words: list[str], name: str) -> None:
    """By script, module or command, unless it has a name."""
    assert environment_for(URL, words, {})["OTEL_SERVICE_NAME"] == name
    assert environment_for(URL, words, {"OTEL_SERVICE_NAME": "mine"})["OTEL_SERVICE_NAME"] == "mine"
    assert "OTEL_SERVICE_NAME" not in environment_for(URL, words, {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a"})


def test_every_variable_that_is_set_wins() -> None:
    """Whatever the command would set."""
    made = environment_for(URL, ["python", "app.py"], {})
    given = dict.fromkeys(made, "mine")
    assert environment_for(URL, ["python", "app.py"], given) == given
