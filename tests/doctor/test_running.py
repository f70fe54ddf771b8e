"""A program that doctor runs: what came, and each way in which something does not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.demo.provider import Script
from otel_tokenstream.doctor import starting
from otel_tokenstream.doctor.surroundings import DISABLED
from tests.zero_code import OTHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.doctor.starting import Start
    from tests.doctor.conftest import Seen

ASK = """
import os, openai
chat = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="none").chat
def ask(**more):
    messages = [{"role": "user", "content": "Tides?"}]
    return chat.completions.create(model="whole", messages=messages, stream=True, **more)
"""
USAGE = 'for _ in range(3): list(ask(stream_options={"include_usage": True}))\n'


@pytest.fixture(scope="module")
def starts() -> dict[tuple[tuple[str, str], ...], Start]:
    return {}


@pytest.fixture(autouse=True)
def started_once(healthy: pytest.MonkeyPatch, starts: dict[tuple[tuple[str, str], ...], Start]) -> None:
    """What doctor sees before it runs the program is the same with the same variables, and looked at once."""
    start = starting.start

    def kept(environ: Mapping[str, str]) -> Start:
        variables = tuple(sorted(each for each in environ.items() if each[0].startswith("OTEL_")))
        if variables not in starts:
            starts[variables] = start(environ)
        return starts[variables]

    healthy.setattr(starting, "start", kept)


@pytest.fixture
def running(
    doctor: Callable[..., Seen], healthy: pytest.MonkeyPatch, provider: ScriptedProvider, tmp_path: Path
) -> Callable[[str], Seen]:
    """Run doctor with a program of this code, which can ask the scripted provider."""
    provider.scripts["whole"] = Script(pieces=list("abcd"), gap=0.002)
    healthy.setenv("BASE_URL", provider.base_url)

    def run(code: str) -> Seen:
        path = tmp_path / "program.py"
        path.write_text(code, encoding="utf-8")
        return doctor("--", sys.executable, str(path))

    return run


def test_arrived_telemetry_is_reported(running: Callable[[str], Seen]) -> None:
    """Model calls by model and outcome, their token numbers, metrics, and that nothing was lost."""
    seen = running(ASK + USAGE)
    assert seen.complaints == []
    assert seen.of("spans")["seen"].startswith("3 model calls came: 3 whole completed")
    assert seen.of("lost")["seen"] == "nothing: 3 calls were counted, 3 spans came"
    assert seen.of("token numbers")["seen"] == "all 3 completed calls have token numbers"


def test_signals_that_variables_disable_are_reported_once(
    running: Callable[[str], Seen], healthy: pytest.MonkeyPatch
) -> None:
    """The check of the variable says it; the run shows that the program itself is well."""
    healthy.setenv("OTEL_TRACES_SAMPLER", "always_off")
    healthy.setenv(DISABLED, f"{OTHERS},tokenstream_openai")
    seen = running(ASK + USAGE)
    assert seen.complaints == [("fault", "libraries"), ("fault", "sampler")]
    assert seen.of("spans")["seen"].startswith("3 model calls came")


def test_a_program_that_makes_no_call(running: Callable[[str], Seen]) -> None:
    """The SDK ran, and no span came."""
    seen = running("import time\ntime.sleep(2.5)\n")
    assert seen.complaints == [("fault", "spans")]
    assert "it made no call through anthropic, dspy, " in seen.of("spans")["seen"]


def test_a_program_that_calls_past_the_libraries(running: Callable[[str], Seen], healthy: pytest.MonkeyPatch) -> None:
    """Its spans of HTTP came, and no model call."""
    healthy.setenv(DISABLED, "aiohttp-client,dspy,litellm,openai")
    seen = running(
        "import httpx, os\n"
        'httpx.post(os.environ["BASE_URL"] + "/chat/completions", json={"model": "whole", "messages": []})\n'
    )
    assert seen.complaints == [("fault", "spans")]
    assert "opentelemetry.instrumentation.httpx" in seen.of("spans")["seen"]
    assert seen.of("spans")["fix"].startswith("call the model through anthropic, dspy, ")


def test_a_program_of_another_python(doctor: Callable[..., Seen]) -> None:
    """One that does not load this environment: nothing came at all."""
    seen = doctor("--", "sh", "-c", f"exec {sys.executable} -I -S -c pass")
    assert seen.complaints == [("fault", "spans")]
    assert seen.of("spans")["seen"].startswith("nothing came at all")
    assert sys.executable in seen.of("spans")["fix"]


def test_streams_without_token_numbers(running: Callable[[str], Seen]) -> None:
    """The setting that asks for them is named."""
    seen = running(ASK + "list(ask())\n")
    assert seen.complaints == [("warning", "token numbers")]
    assert seen.of("token numbers")["fix"] == "export OTEL_TOKENSTREAM_REQUEST_USAGE=true"


def test_a_program_that_is_killed_with_an_open_stream(running: Callable[[str], Seen]) -> None:
    """Its spans were not sent: the counters know."""
    seen = running(
        ASK
        + USAGE
        + "import time\n"
        + "from opentelemetry import trace\n"
        + "trace.get_tracer_provider().force_flush()\n"
        + "stream = ask()\n"
        + "next(stream)\n"
        + "time.sleep(4)\n"
        + "os._exit(0)\n"
    )
    assert seen.complaints == [("warning", "lost")]
    assert "1 streams were still open" in seen.of("lost")["seen"]


def test_a_program_that_fails(running: Callable[[str], Seen]) -> None:
    """What it recorded until then is looked at nevertheless."""
    seen = running(ASK + USAGE + "raise SystemExit(3)\n")
    assert seen.complaints == [("warning", "program")]
    assert "exit code 3" in seen.of("program")["seen"]
    assert seen.of("spans")["level"] == "ok"


def test_another_instrumentation_of_the_same_calls(running: Callable[[str], Seen]) -> None:
    """One that no list of ours has, by its spans at the time of ours."""
    seen = running(
        ASK
        + "from opentelemetry import trace\n"
        + 'tracer = trace.get_tracer("acme.tracing")\n'
        + 'with tracer.start_as_current_span("llm", attributes={"openinference.span.kind": "LLM"}):\n'
        + '    list(ask(stream_options={"include_usage": True}))\n'
    )
    assert seen.complaints == [("warning", "twice")]
    assert "acme.tracing" in seen.of("twice")["seen"]


def test_a_program_that_is_not_there(doctor: Callable[..., Seen]) -> None:
    """It is named."""
    seen = doctor("--", "no-such-program-anywhere")
    assert seen.complaints == [("fault", "program")]
