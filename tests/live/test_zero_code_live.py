from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream import LiteLLMInstrumentor, SettingError
from otel_tokenstream.core.emit import observers
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.live import from_settings
from tests import zero_code

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.demo.provider import ScriptedProvider

CALL = """
import os, openai
client = openai.OpenAI(base_url=os.environ["PROVIDER"], api_key="none", max_retries=0)
def opened():
    return client.chat.completions.create(
        model="test", messages=[{"role": "user", "content": "Go on."}], stream=True)
def stream():
    return list(opened())
"""
BY_LITELLM = """
import os, litellm
def stream():
    return list(litellm.completion(
        model="openai/test", messages=[{"role": "user", "content": "Go on."}], stream=True,
        api_base=os.environ["PROVIDER"], api_key="none", max_retries=0))
"""


@pytest.fixture(autouse=True)
def script(provider: ScriptedProvider) -> None:
    provider.scripts["test"] = Script(pieces=["the ", "tide ", "turns"], gap=0)


def plain(code: str, provider: ScriptedProvider, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program by itself, not under opentelemetry-instrument."""
    environment = {**os.environ, "PROVIDER": provider.base_url, **variables}
    return subprocess.run(
        [sys.executable, "-c", CALL + code], env=environment, capture_output=True, text=True, check=False, timeout=180
    )


@pytest.mark.parametrize(
    ("call", "text", "line"),
    [(BY_LITELLM, "true", "text: the tide turns"), (CALL, "false", "text: 14 characters in 3")],
    ids=["litellm", "openai"],
)
def test_one_variable_shows_streams_in_the_terminal(
    provider: ScriptedProvider, call: str, text: str, line: str
) -> None:
    """No code: with both libraries instrumented each line comes once, text only where it is asked for."""
    done = zero_code.run(
        call + "stream()",
        PROVIDER=provider.base_url,
        OTEL_TOKENSTREAM_LIVE="terminal",
        OTEL_TOKENSTREAM_LIVE_TEXT=text,
    )

    assert done.returncode == 0, done.stderr
    assert len(re.findall("▶ .{6} chat test", done.stderr)) == 1
    assert len(re.findall("■ .{6} chat test completed", done.stderr)) == 1
    assert line in done.stderr
    assert ("turns" in done.stderr) == (text == "true")


def test_without_the_variable_nothing_of_live_is_loaded(provider: ScriptedProvider) -> None:
    """Programs that nobody watches do not pay for it."""
    done = zero_code.run(
        CALL
        + "stream()\nimport sys\nprint([name for name in sys.modules if name.startswith('otel_tokenstream.live')])",
        PROVIDER=provider.base_url,
    )

    assert done.stdout.strip() == "[]", done.stderr


def test_a_missing_client_is_named_and_the_program_runs(provider: ScriptedProvider) -> None:
    """Once for both libraries, with what to install; in code it is raised."""
    done = plain(
        """
import logging, sys
sys.modules["redis"] = None
logging.basicConfig()
from otel_tokenstream import LiteLLMInstrumentor, OpenAIInstrumentor
from otel_tokenstream.live.from_settings import OutletError
try:
    LiteLLMInstrumentor().instrument()
except OutletError as error:
    print("raised")
for instrumentor in (LiteLLMInstrumentor(), OpenAIInstrumentor()):
    instrumentor.instrument(skip_dep_check=True)  # as opentelemetry-instrument does
stream()
print("ran")
""",
        provider,
        OTEL_TOKENSTREAM_LIVE="redis://localhost",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["raised", "ran"]
    assert done.stderr.count("pip install 'otel-tokenstream[redis]'") == 1


def test_an_address_that_cannot_be_read_is_told_without_it() -> None:
    """It may hold a password."""
    with pytest.raises(from_settings.OutletError, match="address of redis://") as refused:
        LiteLLMInstrumentor().instrument(live="redis://me:secret@host:port/")
    assert "secret" not in str(refused.value)
    assert not LiteLLMInstrumentor().is_instrumented_by_opentelemetry
    assert not observers.present()


def test_a_bad_outlet_is_refused_without_its_password() -> None:
    """The message says what is allowed, and does not put a secret into a log."""
    with pytest.raises(SettingError, match=r"live='mqtt://\.\.\.@host/' is not allowed.*redis://") as refused:
        LiteLLMInstrumentor().instrument(live="mqtt://me:secret@host/")
    assert "secret" not in str(refused.value)


def test_instrumentors_share_an_outlet_and_the_last_one_closes_it() -> None:
    """Two that ask for the terminal have one, and none stays when both have let go."""
    first = from_settings.Outlets(["terminal"], text=False)
    second = from_settings.Outlets(["terminal"], text=False)
    assert len(observers._observers) == 1
    first.close()
    assert len(observers._observers) == 1
    second.close()
    assert not observers.present()


# --- Processes -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_tells_of_its_own_streams(provider: ScriptedProvider, tmp_path: Path) -> None:
    """The parent's subscriber works in the child, with a thread of the child's; each tells of its own and only once."""
    done = plain(
        """
from otel_tokenstream import OpenAIInstrumentor, subscribe, flush
OpenAIInstrumentor().instrument()
def write(event):
    with open(f"{os.environ['FOLDER']}/{os.getpid()}", "a") as file:
        print(event.type, getattr(event, "text", "") or "", file=file)
subscription = subscribe(write)
stream()
child = os.fork()
if child:  # one after the other: they share the client's connection
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stream()
os._exit(0 if flush(10) else 1)
""",
        provider,
        FOLDER=str(tmp_path),
    )

    assert done.returncode == 0, done.stderr
    told = sorted((path.read_text().split() for path in tmp_path.iterdir()), key=len)
    one = ["start", "token", "the", "token", "tide", "token", "turns", "token", "end"]
    assert told == [one, one * 2]


def test_pending_events_are_delivered_at_exit(provider: ScriptedProvider) -> None:
    """Also of a stream that nobody finished, to a callback that takes its time; and the sink is closed."""
    done = plain(
        """
import time
from otel_tokenstream import OpenAIInstrumentor, attach
OpenAIInstrumentor().instrument()
class Slow:
    def handle(self, event):
        time.sleep(0.05)
        print(event.type, getattr(event, "outcome", ""), flush=True)
    def close(self):
        print("closed", flush=True)
attach(Slow())
stream()
kept = opened()
next(kept)
""",
        provider,
    )

    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[:6] == ["start", "token", "token", "token", "token", "end completed"]
    assert lines[-2:] == ["end abandoned", "closed"]


def test_a_sink_that_hangs_does_not_keep_a_program_from_exiting(provider: ScriptedProvider) -> None:
    """It has two seconds, together with all others; a neighbour still gets everything."""
    done = plain(
        """
import threading
from otel_tokenstream import OpenAIInstrumentor, attach, subscribe
OpenAIInstrumentor().instrument()
class Hangs:
    def handle(self, event):
        threading.Event().wait()
    def close(self):
        print("never")
attach(Hangs())
subscribe(lambda event: print(event.type, flush=True))
stream()
""",
        provider,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["start", "token", "token", "token", "token", "end"]
