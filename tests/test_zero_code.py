from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from tests import zero_code

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider

STATE = (
    "from otel_tokenstream import DSPyInstrumentor as D, LiteLLMInstrumentor as L;"
    "print(D().is_instrumented_by_opentelemetry, L().is_instrumented_by_opentelemetry);"
)

CONFIGURATION = """
file_format: "1.0"
tracer_provider:
  processors:
    - simple:
        exporter:
          console:
instrumentation/development:
  python:
    tokenstream_openai:
      capture_content: SPAN_AND_EVENT
      {options}
"""

STREAM = """
import openai
client = openai.OpenAI(base_url="{base_url}", api_key="none")
messages = [dict(role="user", content="Why is the sky blue?")]
for chunk in client.chat.completions.create(model="test", messages=messages, max_tokens=5, stream=True):
    pass
"""


def streamed(provider: ScriptedProvider, directory: Path, options: str) -> tuple[dict[str, Any], str]:
    """The span of a stream in a process set up by a configuration file, and what the process logged."""
    file = directory / "otel.yaml"
    file.write_text(CONFIGURATION.format(options=options), encoding="utf-8")
    run = zero_code.run(STREAM.format(base_url=provider.base_url), OTEL_CONFIG_FILE=str(file))
    assert run.returncode == 0, run.stderr
    span: dict[str, Any] = json.loads(run.stdout)
    return span, run.stderr


def token_events(span: dict[str, Any]) -> list[dict[str, Any]]:
    return [event["attributes"] for event in span["events"] if event["name"] == signals.TOKEN_EVENT]


def test_nothing_but_the_command_is_needed() -> None:
    """Both libraries are instrumented before the program's first line."""
    run = zero_code.run(STATE)
    assert (run.stdout, run.stderr, run.returncode) == ("True True\n", "", 0)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("OTEL_TOKENSTREAM_STALL_THRESHOLD", "soon", "OTEL_TOKENSTREAM_STALL_THRESHOLD='soon' is not allowed"),
        ("OTEL_TOKENSTREAM_STALLS", "1", "unknown environment variable 'OTEL_TOKENSTREAM_STALLS'"),
    ],
)
def test_bad_variable_is_told_once_and_everything_goes_on(variable: str, value: str, told: str, tmp_path: Path) -> None:
    """Both instrumentors meet the same bad setting; neither stops what other packages do at start-up."""
    plugin = tmp_path / "other-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n", encoding="utf-8")
    (plugin / "entry_points.txt").write_text("[opentelemetry_post_instrument]\nother = other:hook\n", encoding="utf-8")
    (tmp_path / "other.py").write_text("def hook(): print('others go on')\n", encoding="utf-8")

    run = zero_code.run(STATE, PYTHONPATH=str(tmp_path), **{variable: value})

    assert (run.stdout, run.returncode) == ("others go on\nTrue True\n", 0)
    assert run.stderr.count(told) == 1
    assert "Traceback" not in run.stderr


def test_every_setting_is_a_flag() -> None:
    """A flag reaches the program as its variable."""
    shown = zero_code.run("import os; print(os.environ['OTEL_TOKENSTREAM_EVENTS'])", "--tokenstream_events", "log")
    assert shown.stdout == "log\n"


def test_configuration_file_sets_options(provider: ScriptedProvider, tmp_path: Path) -> None:
    """The declarative configuration reaches what is recorded."""
    span, log = streamed(provider, tmp_path, "event_budget: 4")
    events = token_events(span)
    assert len(span["events"]) <= 4
    assert sum(event.get(signals.AT_COUNT, 1) for event in events) == span["attributes"][signals.CHUNKS] > 4
    assert all(signals.AT_TEXT in event for event in events if event[signals.AT_CHARS])
    assert "not allowed" not in log


def test_configuration_file_with_bad_keys_and_values_still_instruments(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    """Each problem is told once, defaults stand in, and the good options hold."""
    span, log = streamed(provider, tmp_path, "event_budget: lots\n      stall_treshold: 1")
    assert log.count("event_budget='lots' is not allowed") == 1
    assert log.count("unknown option 'stall_treshold', did you mean stall_threshold") == 1
    assert "Traceback" not in log
    events = token_events(span)
    assert len(events) == span["attributes"][signals.CHUNKS]
    assert any(signals.AT_TEXT in event for event in events)
