"""Every block of docs/coming-from-other-tools.md, as it stands there but for the addresses of brokers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dspy
import litellm
import pytest
from google.protobuf import json_format
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.demo.provider.prose import passage_for
from tests import zero_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "coming-from-other-tools.md").read_text(encoding="utf-8")
FIRST_LINES, *SECTIONS = re.split(r"^###? (.+)$", PAGE, flags=re.MULTILINE)
TITLES = SECTIONS[::2]

TIDES = passage_for("Why does the sea have tides?").answer
SKY = passage_for("Why is the sky blue?").answer


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


(PRELUDE,) = blocks("python", FIRST_LINES)
SNIPPETS = {
    title: found[0]
    for title, text in zip(TITLES, SECTIONS[1::2], strict=True)
    if (found := blocks("python", text)) and len(found) == 1
}
BROKERS = {"redis://localhost:6379": "redis_server", "amqp://localhost:5672": "rabbitmq_server"}
PROGRAM = """
import openai
asked = [{{"role": "user", "content": "{}"}}]
for _ in openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=asked, stream=True):
    pass
"""
COMMANDS = [command for block in blocks("sh", PAGE) for command in block.splitlines()]

# What each block prints, as a pattern of all of it.
PRINTED = {
    "`create_streaming_wrapper(module, signature_field_name=…, operation=…)`": "True",
    "`@instrument` on a module class": re.escape(TIDES),
    "`@instrument(stream_fields=[…])`": "True",
    "`self._streamll_stream_fields = […]` inside `forward`": "0 True",
    "Events: `start`, `token`, `end`, `error`": (
        r"start chat gpt-4o-mini\n(token answer \d+ .*\n)+end completed None stop"
    ),
    "Events in the terminal": r"(?s).* ▶ .* • \w+ answer 0: \"Tides\".* ■ .* completed .*",
    "`RedisSink(url, stream_key=…)`": "True",
    "`RabbitMQSink(url, queue=…, exchange=…)`": "True",
    "A custom sink: `handle_event(event)`": f"{len(TIDES)} characters",
    "`TokenCollector.get_text(field=None)`": "True\nTrue",
    "`RedisStreamConsumer(url)`, `EventConsumer(broker_url, target)`": re.escape(TIDES) + "\nrebuilt: True",
    "`emit(…)`, replaced to feed a WebSocket": "True\nTrue",
    '`trace("name", **metadata)`, with `emit(…)` inside': "",
    "`set_context(conversation_id=…)`": r"\{'c-17'\}",
    "`configure(sinks=…, event_filter=…, permanent=…)`": "start\nend\nend",
    '"No tokens?"': r"ChainOfThought has no output field anwser, .* it has answer, reasoning",
    "Pieces of text, printed as they come": re.escape(TIDES),
    "Two providers at once with `asyncio.gather`": (rf"gpt-4o-mini \d+ \d+ {len(TIDES)}\ngpt-4o \d+ \d+ {len(TIDES)}"),
    "Text that came before a timeout or an error": r"\w+Error failed after \d+ chunks: Tides are the sea's answer.*",
    "`chain.stream`: only the last model of a sequence": re.escape(TIDES),
    "`Endpoint.stream`: lines as they come": re.escape(TIDES),
    "`llm.stream`, `llm.astream`: tokens printed as they come": re.escape(TIDES),
    "A chat with memory": r"completed \d+ \d+ 2\ncompleted \d+ \d+ 4",
    "`RunnableParallel`: models at once, with their figures": (
        r"gpt-4o completed \d+ \d+\ngpt-4o-mini completed \d+ \d+\nTrue"
    ),
    "Buffered output": r"(.{40,}\n)+.*",
    "Progress of a chain that prints nothing": r"(\d+ chunks after \d+\.\d\d s\n?)+",
    "A LangChain answer goes on after an interruption": r".*hardly moves\.closed",
    "Models compared, and figures of a session": (
        r"gpt-4o-mini: 3 streams, first token \d+\.\d ms, whole \d+\.\d ms\n"
        r"gpt-4o: 3 streams, first token \d+\.\d ms, whole \d+\.\d ms"
    ),
    "A model behind a FastAPI `StreamingResponse`": re.escape(TIDES),
    "An interrupted answer goes on": re.escape(TIDES.removeprefix("Tides are the sea'")),
    "Retries with back-off, each with its time": re.escape(TIDES),
}


@pytest.fixture
def addresses(
    monkeypatch: pytest.MonkeyPatch, provider: ScriptedProvider, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], str]]:
    """Lead the page's models to the scripted provider, and its code to those of its brokers that it names."""
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, provider.base_url)
    monkeypatch.setenv("DEEPSEEK_API_BASE", provider.base_url)
    for name in ("OPENAI_API_KEY", "DEEPSEEK_API_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setattr(litellm, "suppress_debug_info", True)  # it prints advice at every error
    for model in ("gpt-4o-mini", "gpt-4o"):
        provider.scripts[model] = Script(gap=0.001)
    failure = Script(ending="http_error", status=503)
    provider.scripts["deepseek-chat"] = [failure, failure, Script(gap=0.001)]

    def real(code: str) -> str:
        for written, server in BROKERS.items():
            if written in code:
                code = code.replace(written, request.getfixturevalue(server).url)
        return code

    yield real
    dspy.configure(lm=None)


def run(title: str, addresses: Callable[[str], str]) -> dict[str, Any]:
    code = addresses(SNIPPETS[title])
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(PRELUDE, "the first lines", "exec"), namespace)
    exec(compile(code, title, "exec"), namespace)
    return namespace


def test_every_section_with_a_block_is_run() -> None:
    """A new call on the page comes with what its block prints."""
    assert set(PRINTED) == set(SNIPPETS)
    assert len(blocks("python", PAGE)) == len(SNIPPETS) + 1


# It asks for Python 3.11.
NO_LIONPRIDE = pytest.mark.skipif(find_spec("lionpride") is None, reason="lionpride is not installed")


@pytest.mark.parametrize(
    "title", [pytest.param(each, marks=NO_LIONPRIDE if "Endpoint" in each else ()) for each in SNIPPETS]
)
def test_each_code_block_works_as_documented(
    title: str, addresses: Callable[[str], str], tokenstream: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a reader pastes it: below the first lines of the page, in an instrumented program."""
    run(title, addresses)
    printed = capsys.readouterr().out.strip("\n")
    assert re.fullmatch(PRINTED[title], printed), printed
    assert tokenstream.spans or "No tokens" in title


def test_steps_nest_and_stand_above_the_model_call(addresses: Callable[[str], str], tokenstream: Capture) -> None:
    """One trace: lookup, in it rank and the program; what was noted is an event of the span."""
    run('`trace("name", **metadata)`, with `emit(…)` inside', addresses)
    spans = {span.name: span for span in tokenstream.spans}
    lookup = spans["lookup"]
    assert lookup.attributes["k"] == 3
    assert [event.name for event in lookup.events] == ["found"]
    assert spans["rank"].parent.span_id == spans["ChainOfThought"].parent.span_id == lookup.context.span_id


def test_retried_call_tells_its_attempts(addresses: Callable[[str], str], tokenstream: Capture) -> None:
    """One span, three attempts, each with its own time and the first two with their error."""
    run("Retries with back-off, each with its time", addresses)
    (generation,) = tokenstream.generations
    assert generation.attributes[signals.ATTEMPTS] == 3
    attempts = [event.attributes for event in generation.events if event.name == signals.ATTEMPT_EVENT]
    assert [signals.AT_ERROR_TYPE in attempt for attempt in attempts] == [True, True, False]


def test_continuation_is_linked(addresses: Callable[[str], str], tokenstream: Capture) -> None:
    """The second call leads to the first."""
    run("An interrupted answer goes on", addresses)
    first, second = (generation.span for generation in tokenstream.generations)
    assert [link.context.span_id for link in second.links] == [first.context.span_id]


@pytest.mark.parametrize("command", [each for each in COMMANDS if "make" not in each])
@pytest.mark.usefixtures("addresses")
def test_command_runs(command: str, tokenstream: Capture, tmp_path: Path) -> None:
    """In a directory with a program and a recording."""
    ask = "for _ in litellm.completion(MODEL, [{'role': 'user', 'content': QUESTION}], stream=True): pass\n"
    namespace: dict[str, Any] = {}
    exec(PRELUDE, namespace)
    (tmp_path / "app.py").write_text(PROGRAM.format(namespace["QUESTION"]))
    for model in ("gpt-4o", "gpt-4o-mini"):
        exec(f"MODEL = 'openai/{model}'\n{ask}", namespace)
    recording = json_format.MessageToJson(encode_spans(tokenstream.spans), indent=None)
    (tmp_path / "recording.jsonl").write_text(recording)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": zero_code.OTHERS,
        **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
    }
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stderr
    expected = "text: Tides are the sea's answer" if "terminal" in command else "2 streams from "
    assert expected in done.stdout + done.stderr


@pytest.mark.parametrize("command", sorted({each for each in COMMANDS if "make" in each}))
def test_example_exists(command: str) -> None:
    """Those the page names are run by the tests of the examples."""
    name = command.removeprefix("make example NAME=")
    assert (ROOT / "examples" / f"{name}.py").exists() or (ROOT / "examples" / name / "app.py").exists()
    assert f'"{name}"' in (ROOT / "tests" / "examples" / "test_examples.py").read_text(encoding="utf-8")
