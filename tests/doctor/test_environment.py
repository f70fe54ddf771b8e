"""Each kind of fault that variables and packages can bring: doctor names it, and says nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.cli import main
from otel_tokenstream.doctor.processes import CHECKS
from otel_tokenstream.doctor.surroundings import Surroundings
from tests.zero_code import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doctor.conftest import Seen

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
GEVENT = "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH"

# Variables; the level and the check of the only complaint; what its finding and its fix have in them.
FAULTS = [
    ({"OTEL_SDK_DISABLED": "true"}, "fault", "sdk", "OTEL_SDK_DISABLED", "unset OTEL_SDK_DISABLED"),
    ({"OTEL_TRACES_EXPORTER": "none"}, "fault", "exporters", "no span", "unset OTEL_TRACES_EXPORTER"),
    ({"OTEL_METRICS_EXPORTER": "none"}, "warning", "exporters", "no metric", "unset OTEL_METRICS_EXPORTER"),
    ({"OTEL_TRACES_EXPORTER": "zipkin"}, "fault", "start", "zipkin", "pip install"),
    ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "fault", "start", "http/json", "http/protobuf"),
    ({"OTEL_TRACES_SAMPLER": "always_off"}, "fault", "sampler", "drops every trace", "always_on"),
    (
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
        "fault",
        "sampler",
        "drops every trace",
        "always_on",
    ),
    (
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        "warning",
        "sampler",
        "% of the traces",
        "parentbased_always_on",
    ),
    ({"OTEL_TOKENSTREAM_STALL_THRESHOLD": "soon"}, "fault", "settings", "soon", "unset"),
    ({"OTEL_TOKENSTREAM_EVENT_BUGDET": "3"}, "fault", "settings", "OTEL_TOKENSTREAM_EVENT_BUDGET", "unset"),
    ({CAPTURE: "true"}, "fault", "settings", "SPAN_ONLY", f"unset {CAPTURE}"),
    ({DISABLED: f"{OTHERS}, tokenstream_litellm"}, "fault", "libraries", "tokenstream_litellm", OTHERS),
    ({DISABLED: "dspy"}, "warning", "doubles", "openinference.instrumentation.litellm", f"{DISABLED}=dspy,litellm"),
    ({"OTEL_TOKENSTREAM_EVENTS": "none"}, "warning", "token events", "no token events", "unset"),
    ({"OTEL_TOKENSTREAM_EVENT_BUDGET": "0"}, "warning", "token events", "no token events", "unset"),
    ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "0"}, "warning", "token events", "drops every event", "unset"),
    (
        {"OTEL_TOKENSTREAM_EVENTS": "log", "OTEL_LOGS_EXPORTER": "none"},
        "fault",
        "exporters",
        "log records",
        "unset OTEL_LOGS_EXPORTER",
    ),
    ({GEVENT: "all"}, "fault", "gevent", "does nothing", f"{GEVENT}=patch_all"),
    ({"GUNICORN_CMD_ARGS": "--workers 4 --preload"}, "warning", "fork servers", "preloads", "--preload"),
    ({"GUNICORN_CMD_ARGS": "-k gevent"}, "fault", "gevent", "after the SDK", f"{GEVENT}=patch_all"),
    ({"OTEL_TOKENSTREAM_LIVE": "redis://:pass-word@127.0.0.1:1"}, "fault", "live outlets", "127.0.0.1:1", "broker"),
    ({"OTEL_EXPORTER_OTLP_HEADERS": "authorization: hush-hush"}, "fault", "headers", "without '='", "name=value"),
]


def test_a_healthy_environment_has_no_complaint(doctor: Callable[..., Seen], healthy: pytest.MonkeyPatch) -> None:
    """Every check is ok beside the official instrumentations, a span and a metric were taken, the exit code is 0."""
    healthy.setenv(DISABLED, "dspy,litellm")
    seen = doctor()
    assert (seen.complaints, seen.code) == ([], 0)
    assert seen.of("test signals")["seen"] == "a span and a metric were taken"
    assert {"python", "versions", "sdk", "start", "receiver", "sampler", "clock"} <= {
        each["check"] for each in seen.findings
    }


@pytest.mark.parametrize(("variables", "level", "check", "seen", "fix"), FAULTS, ids=lambda of: str(of)[:40])
def test_a_fault_of_variables_is_named_alone(
    doctor: Callable[..., Seen],
    healthy: pytest.MonkeyPatch,
    variables: dict[str, str],
    level: str,
    check: str,
    seen: str,
    fix: str,
) -> None:
    """With the variable in its finding and what mends it."""
    for name, value in variables.items():
        healthy.setenv(name, value)
    found = doctor()
    assert found.complaints == [(level, check)]
    assert found.code == (1 if level == "fault" else 0)
    complaint = next(each for each in found.findings if each["level"] != "ok")
    assert seen in complaint["seen"]
    assert fix in complaint["fix"]


# --- Packages -----------------------------------------------------------------------------------


@pytest.fixture
def installed(healthy: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], None]:
    """Put a distribution in front of all others, for this process and for those it starts."""
    healthy.syspath_prepend(tmp_path)
    healthy.setenv("PYTHONPATH", str(tmp_path))

    def put(name: str, version: str) -> None:
        directory = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        directory.mkdir()
        (directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    return put


def test_a_library_that_is_too_old_is_named(doctor: Callable[..., Seen], installed: Callable[[str, str], None]) -> None:
    """With the version that is needed and the command that brings it."""
    installed("litellm", "1.50.0")
    found = doctor()
    assert found.complaints == [("fault", "versions")]
    assert "litellm 1.50.0" in found.of("versions")["seen"]
    assert '"litellm>=1.60"' in found.of("versions")["fix"]


def test_a_library_that_is_newer_than_those_tested_is_named(
    doctor: Callable[..., Seen], installed: Callable[[str, str], None]
) -> None:
    """It may work: a warning."""
    installed("litellm", "99.0.0")
    found = doctor()
    assert (found.complaints, found.code) == ([("warning", "versions")], 0)


def test_a_library_that_streams_and_is_not_covered_is_named(
    doctor: Callable[..., Seen], installed: Callable[[str, str], None]
) -> None:
    """Others that litellm brings along, such as openai's, are not."""
    installed("cohere", "9.0")
    found = doctor()
    assert found.complaints == [("warning", "uncovered")]
    assert found.of("uncovered")["seen"].startswith("cohere can stream too")


# --- Processes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "level", "seen"),
    [
        ("gunicorn app:app", "ok", "in each worker"),
        ("gunicorn --preload app:app", "warning", "preloads"),
        ("gunicorn -c settings.py app:app", "warning", "preloads"),
        ("uwsgi --http :8000 --module app", "fault", "--enable-threads"),
        ("uwsgi --enable-threads --module app", "warning", "--lazy-apps"),
        ("uwsgi --enable-threads --lazy-apps --module app", "ok", "in each worker"),
        ("uwsgi app.ini", "ok", "in each worker"),
        ("celery -A app worker", "warning", "flush()"),
        ("celery -A app worker --pool prefork", "warning", "flush()"),
        ("celery -A app worker -P threads", "ok", "threads"),
        ("celery -A app beat", "ok", "no server"),
        ("python app.py", "ok", "no server"),
    ],
)
def test_servers_that_fork_are_known_by_their_commands(
    command: str, level: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.py").write_text("workers = 4\npreload_app = True\n")
    (tmp_path / "app.ini").write_text("[uwsgi]\nmodule = app\nenable-threads = true\nlazy-apps = true\n")
    (found,) = CHECKS[0].looks(Surroundings({}, command.split()))
    assert found.level == level
    assert seen in f"{found.seen} {found.fix}"


@pytest.mark.parametrize(
    ("command", "program", "patched", "level"),
    [
        ("gunicorn -k gevent app:app", "", "", "fault"),
        ("gunicorn -k gevent app:app", "", "patch_all", "ok"),
        ("celery -A app worker -P gevent", "", "", "fault"),
        ("python app.py", "from gevent import monkey\nmonkey.patch_all()\n", "", "fault"),
        ("python app.py", "from gevent import monkey\nmonkey.patch_all()\n", "patch_all", "ok"),
        ("python app.py", "import asyncio\n", "", "ok"),
    ],
)
def test_gevent_that_patches_too_late_is_seen(
    command: str, program: str, patched: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the server's worker class, or in the program itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(program)
    (found,) = CHECKS[1].looks(Surroundings({GEVENT: patched} if patched else {}, command.split()))
    assert found.level == level


# --- Output -------------------------------------------------------------------------------------


def test_text_has_one_line_a_check_and_no_secret(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither header values nor passwords in addresses, whatever a library says of them."""
    healthy.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cr3t-t0ken,x-key=another-one")
    healthy.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass-word@127.0.0.1:1")
    healthy.setenv("OTEL_TOKENSTREAM_LIVE", "amqp://user:pass-word@127.0.0.1:1")
    healthy.setenv("OTEL_TOKENSTREAM_REDACT", "s3cr3t-t0ken")
    assert main(["doctor", "--no-probe"]) == 1
    told = capsys.readouterr().out
    assert {line.split()[0] for line in told.splitlines()} == {"ok", "fault"}
    assert "nothing listens at http://127.0.0.1:1" in told
    assert not [secret for secret in ("s3cr3t-t0ken", "another-one", "pass-word") if secret in told]
    assert "authorization, x-key" in told
