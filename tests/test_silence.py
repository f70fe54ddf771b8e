"""One line where nothing would be seen: programs that forgot something, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider

WITHOUT_SDK = """
import sys
for name in [name for name in sys.modules if name.startswith("opentelemetry.sdk")]:
    del sys.modules[name]
sys.modules["opentelemetry.sdk"] = None  # what an import sees of a package that is not installed
"""
INSTRUMENTED = """
from otel_tokenstream import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
"""
CALLS = """
import sys
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key="none")
for _ in range(2):
    for chunk in client.chat.completions.create(model="test", messages=[{"role": "user", "content": "x"}], stream=True):
        pass
"""
UNSAMPLED = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
trace.set_tracer_provider(TracerProvider(sampler=sampling.ALWAYS_OFF))
"""
ATTACHED = """
from otel_tokenstream import Terminal, attach
with attach(Terminal()):
"""


def warnings_of(program: str, provider: ScriptedProvider) -> list[str]:
    """Lines of ours on standard error."""
    provider.scripts["test"] = Script(pieces=["x"])
    plain = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, provider.base_url],
        env=plain,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in result.stderr.splitlines() if "doctor" in line]


def test_calls_without_a_provider_are_told_once(provider: ScriptedProvider) -> None:
    """And how to set one, at the first of them."""
    (line,) = warnings_of(INSTRUMENTED + CALLS, provider)
    assert line.startswith("Model calls are recorded nowhere: no tracer, meter or logger provider is set.")


def test_calls_without_the_sdk_name_the_missing_package(provider: ScriptedProvider) -> None:
    """The base install has the API alone."""
    (line,) = warnings_of(WITHOUT_SDK + INSTRUMENTED + CALLS, provider)
    assert 'the OpenTelemetry SDK is not installed: pip install "otel-tokenstream[otlp]"' in line


def test_a_program_that_samples_nothing_is_left_alone(provider: ScriptedProvider) -> None:
    """It has a provider, and knows what it does."""
    assert warnings_of(UNSAMPLED + INSTRUMENTED + CALLS, provider) == []


def test_live_events_with_nothing_instrumented_are_told(provider: ScriptedProvider) -> None:
    """Whoever attached a sink would wait for ever."""
    (line,) = warnings_of(ATTACHED + "    " + CALLS.strip().replace("\n", "\n    "), provider)
    assert "no library is instrumented: call LiteLLMInstrumentor().instrument()" in line
    assert warnings_of(INSTRUMENTED + ATTACHED + "    " + CALLS.strip().replace("\n", "\n    "), provider) == []


def test_a_program_that_imports_no_instrumented_library_is_told(provider: ScriptedProvider) -> None:
    """It may use a client that is not seen."""
    (line,) = warnings_of(INSTRUMENTED, provider)
    assert line.startswith("Libraries were instrumented, and the program imported none of them.")
