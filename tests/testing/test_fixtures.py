"""The fixtures as a program's own tests use them: pytest runs the tests below in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import openai
import pytest
from otel_tokenstream.demo.fixtures import _tokenstream_provider, scripted_provider
from otel_tokenstream.demo.provider import Script

pytestmark = pytest.mark.tokenstream(stall_threshold=60, event_budget=7)

def answer(provider, **script):
    provider.scripts["test"] = Script(**{"pieces": ["one ", "two ", "three"], "gap": 0.01, **script})
    chat = openai.OpenAI(base_url=provider.base_url, api_key="none", max_retries=0).chat
    for _ in chat.completions.create(model="test", messages=[{"role": "user", "content": "x"}], stream=True):
        pass

def test_holds(scripted_provider, tokenstream):
    answer(scripted_provider)
    tokenstream.assert_outcome("completed")
    tokenstream.assert_no_stall()
    tokenstream.assert_first_token_within(60)
    (generation,) = tokenstream.generations
    generation.assert_no_stall(longer_than=60)

def test_mark_of_the_module(scripted_provider, tokenstream):
    answer(scripted_provider, pauses={2: 0.5})
    tokenstream.assert_no_stall()

@pytest.mark.tokenstream(colour="red")
def test_unknown_setting(tokenstream):
    pass

@pytest.mark.tokenstream(stall_threshold=0.2)
def test_stall(scripted_provider, tokenstream):
    answer(scripted_provider, pauses={2: 0.5})
    tokenstream.assert_no_stall()

def test_long_wait(scripted_provider, tokenstream):
    answer(scripted_provider, pauses={2: 0.5})
    tokenstream.assert_no_stall(longer_than=0.3)

def test_late(scripted_provider, tokenstream):
    answer(scripted_provider, first_piece=0.5)
    tokenstream.assert_first_token_within(0.2)

def test_no_token(scripted_provider, tokenstream):
    answer(scripted_provider, pieces=[])
    tokenstream.assert_first_token_within(0.2)

def test_outcome(scripted_provider, tokenstream):
    answer(scripted_provider)
    tokenstream.assert_outcome("failed")

def test_error(scripted_provider, tokenstream):
    with pytest.raises(openai.InternalServerError):
        answer(scripted_provider, ending="http_error")
    tokenstream.assert_outcome("failed", "InternalServerError")
    tokenstream.assert_outcome("failed", "Timeout")

def test_nothing(tokenstream):
    tokenstream.assert_no_stall()
"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest said of each test that did not pass, by its name; the last lines under an empty one."""
    directory: Path = tmp_path_factory.mktemp("program")
    (directory / "test_program.py").write_text(PROGRAM)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-p", "no:cacheprovider", "--strict-markers", "."],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    parts = re.split(r"^_+ (?:ERROR at setup of )?(test_\w+) _+$", result.stdout, flags=re.MULTILINE)
    return {**dict(zip(parts[1::2], parts[2::2], strict=True)), "": result.stdout[-1000:]}


def test_a_true_assertion_passes_and_a_mark_sets_settings(reports: dict[str, str]) -> None:
    """Of several marks the nearest one counts: half a second of silence is a stall of one test and none of another."""
    assert {"test_holds", "test_mark_of_the_module"}.isdisjoint(reports), reports
    assert "7 failed, 2 passed, 1 error" in reports[""]


def test_an_unknown_setting_is_an_error(reports: dict[str, str]) -> None:
    """It would otherwise test something else than it says."""
    assert "SettingError" in reports["test_unknown_setting"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test_stall", "1 stall, the longest"),
        ("test_long_wait", "longer than 0.3 s"),
        ("test_late", "later than 0.2 s"),
        ("test_no_token", "no token came, and the first was due within 0.2 s"),
        ("test_outcome", "the call completed, expected failed"),
        ("test_error", "the error is InternalServerError, expected Timeout"),
    ],
)
def test_a_failed_assertion_shows_the_timeline(reports: dict[str, str], name: str, message: str) -> None:
    """The reason first, then what came and when, without a traceback into this package."""
    said = reports[name]
    assert message in said
    assert "chat test: " in said
    assert "ms  call" in said
    assert "otel_tokenstream/testing" not in said
    if name == "test_stall":
        assert "stream handed out" in said
        assert "end of a stall of" in said
        assert re.search(r"ms  chunk 3: 5 characters of text, waited \d+", said)


def test_a_test_that_called_nothing_does_not_pass(reports: dict[str, str]) -> None:
    """An expectation of all calls needs one."""
    assert "no model call has ended" in reports["test_nothing"]
