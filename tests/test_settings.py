from __future__ import annotations

import logging
import sys
from dataclasses import fields
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from otel_tokenstream import LiteLLMInstrumentor, SettingError
from otel_tokenstream.settings import Configuration, NamedHook, Settings, catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Option: (default, text in a variable, the value it gives, a bad value, words of what is allowed)
CASES: dict[str, tuple[Any, str, Any, str, str]] = {
    "events": ("span", "LOG", "log", "spans", "one of span, log, both, none"),
    "event_budget": (32, " 64 ", 64, "-1", "a whole number from 0 to 1024"),
    "offsets": (256, "0", 0, "many", "a whole number from 0 to 4096"),
    "stall_threshold": (2.0, "0.5", 0.5, "2s", "seconds from 0 to 86400"),
    "first_token_threshold": (30.0, "45", 45.0, "nan", "seconds from 0 to 86400"),
    "metric_names": ("old", "Both", "both", "newest", "one of old, new, both"),
    "chunk_metrics": (True, "false", False, "off", "true or false"),
    "fields": (True, "0", False, "2", "true or false"),
    "dspy_stream": (
        frozenset(),
        "answer, reasoning",
        frozenset({"answer", "reasoning"}),
        "answer,*",
        "names of output fields, separated by commas, or * for all",
    ),
    "dspy_optimizers": (False, "1", True, "loud", "true or false"),
    "langchain_steps": (200, "0", 0, "some", "a whole number from 0 to 100000"),
    "langchain_ids": (
        frozenset(),
        "thread_id, Run_ID",
        frozenset({"thread_id", "run_id"}),
        "task_id",
        "any of thread_id, run_id",
    ),
    "request_usage": (False, "1", True, "yes", "true or false"),
    "proxy_attributes": (
        frozenset(),
        "team, End_User",
        frozenset({"team", "end_user"}),
        "key",
        "any of team, key_alias, end_user",
    ),
    "model_limit": (100, "0", 0, "1e3", "a whole number from 0 to 100000"),
    "capture_content": ("NO_CONTENT", "span_only", "SPAN_ONLY", "true", "one of NO_CONTENT, SPAN_ONLY, EVENT_ONLY"),
    "content_limit": (16_384, "100", 100, "1.5", "a whole number from 0 to 16777216"),
    "content_value_limit": (8_192, "0", 0, "8k", "a whole number from 0 to 16777216"),
    "redact": (None, " a.b:mask ", NamedHook("a.b", "mask"), "mask", "a function from str to str"),
    "live": (
        (),
        "terminal, rediss://me:secret@host:6380/0",
        ("terminal", "rediss://me:secret@host:6380/0"),
        "http://host",
        "terminal, redis://..., rediss://..., amqp://... or amqps://..., separated by commas",
    ),
    "live_text": (False, "true", True, "all", "true or false"),
    "baggage_keys": ((), "tenant, user.id", ("tenant", "user.id"), "a=b", "keys of OpenTelemetry baggage"),
}
every_setting = pytest.mark.parametrize("name", CASES)


def variable(name: str) -> str:
    return catalogue()[name].environment


@pytest.fixture
def instrumentor() -> Iterator[LiteLLMInstrumentor]:
    instrumentor = LiteLLMInstrumentor()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.ERROR, "otel_tokenstream")
    return lambda: [record.getMessage() for record in caplog.records]


def test_every_setting_has_a_case() -> None:
    """A new setting is tested like the others."""
    assert list(CASES) == list(catalogue()) == [field.name for field in fields(Settings)]


@every_setting
def test_default_holds_without_option_and_variable(name: str) -> None:
    """Nothing needs to be set; an empty variable counts as not set."""
    default = CASES[name][0]
    assert getattr(Settings.load(environ={}), name) == default
    assert getattr(Settings.load(environ={variable(name): " "}), name) == default
    assert catalogue()[name].default == default


@every_setting
def test_variable_sets_it(name: str) -> None:
    """Case and surrounding blanks do not matter, and the value has the setting's type."""
    _, text, value, _, _ = CASES[name]
    found = getattr(Settings.load(environ={variable(name): text}), name)
    assert (found, type(found)) == (value, type(value))


@every_setting
def test_option_wins_over_variable(name: str) -> None:
    """What the program asks for stands above what surrounds it."""
    default, text, value, bad, _ = CASES[name]
    assert getattr(Settings.load({name: value}, environ={}), name) == value
    if default is not None:  # which an option cannot ask for: it is that of an option not given
        assert getattr(Settings.load({name: default}, environ={variable(name): text}), name) == default
    assert getattr(Settings.load({name: value}, environ={variable(name): bad}), name) == value


@every_setting
def test_a_bad_value_is_named_with_its_setting_and_the_allowed_values(name: str) -> None:
    """Whoever reads the message knows what to change, from a variable as from an option."""
    *_, bad, allowed = CASES[name]
    for options, environ, key in (({}, {variable(name): bad}, variable(name)), ({name: bad}, {}, name)):
        with pytest.raises(SettingError) as raised:
            Settings.load(options, environ=environ)
        message = str(raised.value)
        assert message.startswith(f"{key}={bad!r} is not allowed")
        assert allowed in message


@every_setting
def test_bad_value_gives_the_default_where_raising_would_do_harm(name: str, logged: Callable[[], list[str]]) -> None:
    """It is logged as an error once, however often settings are read."""
    default, *_, bad, _ = CASES[name]
    bad += " "  # a text of this test's own: what was logged before is not logged again
    for _ in range(2):
        assert getattr(Settings.load(environ={variable(name): bad}, lenient=True), name) == default
    (message,) = logged()
    assert f"{variable(name)}={bad!r}" in message
    assert message.endswith("Going on with the default.")


def test_bad_option_for_content_is_not_replaced_by_a_variable_that_allows_it() -> None:
    """Content leaves the process only where nothing speaks against it."""
    environ = {variable("capture_content"): "SPAN_AND_EVENT"}
    assert Settings.load({"capture_content": "nothing"}, environ=environ, lenient=True).capture_content == "NO_CONTENT"


@pytest.mark.parametrize("content_first", [True, False])
def test_redaction_that_is_not_to_be_had_turns_content_off(content_first: bool) -> None:
    """Where raising would do harm, a bad redaction must not become none: nothing leaves unredacted."""
    options: dict[str, object] = {"capture_content": "SPAN_AND_EVENT", "redact": "no function"}
    if not content_first:
        options = dict(reversed(options.items()))
    variables = {variable(name): str(value) for name, value in options.items()}
    assert Settings.load(options, environ={}, lenient=True).capture_content == "NO_CONTENT"
    assert Settings.load(environ=variables, lenient=True).capture_content == "NO_CONTENT"
    assert Configuration(**options).capture_content == "NO_CONTENT"


def test_redaction_under_a_misspelt_name_turns_content_off() -> None:
    """Who named a hook wanted one."""
    options: dict[str, object] = {"capture_content": "SPAN_AND_EVENT", "redactor": str.upper}
    variables = {variable("capture_content"): "SPAN_AND_EVENT", "OTEL_TOKENSTREAM_REDACTOR": "app:mask"}
    assert Settings.load(options, environ={}, lenient=True).capture_content == "NO_CONTENT"
    assert Settings.load(environ=variables, lenient=True).capture_content == "NO_CONTENT"
    assert Configuration(**options).capture_content == "NO_CONTENT"
    both = Settings.load({"redact": str.upper}, environ=variables, lenient=True)
    assert (both.capture_content, both.redact) == ("SPAN_AND_EVENT", str.upper)


def test_redaction_named_in_the_environment_is_looked_up_at_its_first_use() -> None:
    """A program's own modules are not to be found yet where ``opentelemetry-instrument`` reads the settings."""
    hook = Settings.load(environ={variable("redact"): "not_there_yet:mask"}).redact
    assert hook is not None
    with pytest.raises(ModuleNotFoundError):
        hook("text")
    module = ModuleType("not_there_yet")
    module.mask = str.upper
    with patch.dict(sys.modules, {"not_there_yet": module}):
        assert hook("text") == "TEXT"


def test_unknown_variable_names_the_nearest_one() -> None:
    """A misspelt variable would otherwise be a setting that silently does nothing."""
    with pytest.raises(SettingError, match="did you mean OTEL_TOKENSTREAM_STALL_THRESHOLD"):
        Settings.load(environ={"OTEL_TOKENSTREAM_STALL_TRESHOLD": "3"})


def test_every_problem_is_told_at_once() -> None:
    """Nobody has to mend one setting to learn of the next."""
    with pytest.raises(SettingError) as raised:
        Settings.load({"event_budget": -1, "stalls": 2}, environ={"OTEL_TOKENSTREAM_EVENTS": "all"})
    message = str(raised.value)
    assert all(
        part in message for part in ("event_budget=-1", "unknown option 'stalls'", "OTEL_TOKENSTREAM_EVENTS='all'")
    )


def test_variables_of_others_do_not_concern_us() -> None:
    """Only names that begin with ours are looked at."""
    assert Settings.load(environ={"OTEL_SERVICE_NAME": "shop", "PATH": "/bin"}) == Settings()


def test_instrument_raises_and_leaves_the_library_alone(instrumentor: LiteLLMInstrumentor) -> None:
    """A program that asks for something impossible learns it where it asks."""
    with pytest.raises(SettingError, match="event_budget='lots' is not allowed: it takes a whole number"):
        instrumentor.instrument(event_budget="lots")
    assert not instrumentor.is_instrumented_by_opentelemetry


def test_instrument_takes_every_setting_by_name(instrumentor: LiteLLMInstrumentor) -> None:
    """The names of the documentation are the names of the arguments."""
    instrumentor.instrument(**{name: case[2] for name, case in CASES.items()})
    assert instrumentor.is_instrumented_by_opentelemetry


def test_configuration_class_has_exactly_the_settings() -> None:
    """The declarative configuration file knows what instrument() knows."""
    assert [field.name for field in fields(Configuration)] == list(CASES)


def test_configuration_class_keeps_good_values_and_logs_bad_ones(logged: Callable[[], list[str]]) -> None:
    """Raising would make the loader drop the whole instrumentation."""
    configured = Configuration(stall_threshold=3, event_budget="a lot", stall_treshold=1)
    assert (configured.stall_threshold, configured.event_budget, configured.offsets) == (3.0, 32, None)
    assert [message.partition(":")[2][:28] for message in logged()] == [
        " event_budget='a lot' is not",
        " unknown option 'stall_tresh",
    ]
