"""Settings: every one with its environment variable, default, unit and what zero means.

``instrument()`` takes each by its field name and raises ``SettingError`` on a bad one. Under
``opentelemetry-instrument``, where raising would switch off every instrumentation of the
process, a bad one is logged as an error and its default is used.
"""

from __future__ import annotations

import difflib
import logging
import math
import os
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from otel_tokenstream import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_logger = logging.getLogger(__name__)

_PREFIX = "OTEL_TOKENSTREAM_"
_CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"

Emitters = Literal["span", "log", "both", "none"]
MetricNames = Literal["old", "new", "both"]
CaptureContent = Literal["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"]


class SettingError(ValueError):
    """A setting is unknown or its value is not allowed; the message names what is."""


@dataclass(frozen=True)
class Setting:
    """One setting. ``zero`` says what the value 0 means, ``unit`` is empty for none."""

    name: str
    environment: str
    default: Any
    allowed: str
    unit: str
    zero: str
    brief: str
    check: Callable[[object], Any]


def _choice(*values: str) -> tuple[str, Callable[[object], str]]:
    by_name = {value.lower(): value for value in values}

    def check(value: object) -> str:
        return by_name[str(value).strip().lower()]

    return "one of " + ", ".join(values), check


def _boolean() -> tuple[str, Callable[[object], bool]]:
    by_name = {"true": True, "1": True, "false": False, "0": False}

    def check(value: object) -> bool:
        return by_name[str(value).strip().lower()]

    return "true or false", check


def _several(*values: str) -> tuple[str, Callable[[object], frozenset[str]]]:
    def check(value: object) -> frozenset[str]:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, (list, tuple, set, frozenset)):
            raise TypeError
        found = frozenset(str(name).strip().lower() for name in names if str(name).strip())
        if not found <= set(values):
            raise ValueError
        return found

    return "any of " + ", ".join(values) + ", separated by commas", check


def _whole(highest: int) -> tuple[str, Callable[[object], int]]:
    def check(value: object) -> int:
        number = int(value.strip()) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= highest:
            raise ValueError
        return number

    return f"a whole number from 0 to {highest}", check


def _seconds(highest: float) -> tuple[str, Callable[[object], float]]:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise TypeError
        number = float(value)
        if not math.isfinite(number) or not 0 <= number <= highest:
            raise ValueError
        return number

    return f"seconds from 0 to {highest:g}", check


@dataclass(frozen=True)
class NamedHook:
    """A function by its name, imported at its first use: a program's modules are not to be found before it runs."""

    module: str
    function: str

    def __call__(self, text: str) -> str:
        redacted: str = self._found()(text)
        return redacted

    @property
    def longest(self) -> object:
        """What a ``Redactor`` declares; a plain function declares nothing."""
        return getattr(self._found(), "longest", None)

    def _found(self) -> Any:
        return getattr(import_module(self.module), self.function)


def _hook() -> tuple[str, Callable[[object], Any]]:
    def check(value: object) -> Any:
        if isinstance(value, str):
            module, colon, function = value.strip().partition(":")
            if not (colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
                raise ValueError
            return NamedHook(module, function)
        if value is not None and not callable(value):
            raise TypeError
        hash(value)  # settings are looked up by their values
        return value

    return "a function from str to str, or where one is as module:function", check


def _setting(
    default: Any,
    environment: str,
    kind: tuple[str, Callable[[object], Any]],
    brief: str,
    *,
    unit: str = "",
    zero: str = "",
) -> Any:
    allowed, check = kind
    metadata = {
        "environment": environment,
        "allowed": allowed,
        "check": check,
        "brief": brief,
        "unit": unit,
        "zero": zero,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user can set; see ``catalogue()`` for names, units and meanings."""

    events: Emitters = _setting(
        "span",
        environment.OTEL_TOKENSTREAM_EVENTS,
        _choice("span", "log", "both", "none"),
        "Where token events go: on the span when it ends, as log records while the stream runs, or both",
    )
    event_budget: int = _setting(
        32,
        environment.OTEL_TOKENSTREAM_EVENT_BUDGET,
        _whole(1024),
        "Events a span may carry; chunks beyond it share events. Never above the tracer's own limit",
        unit="events",
        zero="no events on spans",
    )
    offsets: int = _setting(
        256,
        environment.OTEL_TOKENSTREAM_OFFSETS,
        _whole(4096),
        "Points of tokenstream.offsets_us, the finer picture of a stream whose events were merged",
        unit="points",
        zero="no offsets",
    )
    stall_threshold: float = _setting(
        2.0,
        environment.OTEL_TOKENSTREAM_STALL_THRESHOLD,
        _seconds(86_400),
        "A read after the first token that is blocked for this long is a stall",
        unit="s",
        zero="stalls are not looked for",
    )
    first_token_threshold: float = _setting(
        30.0,
        environment.OTEL_TOKENSTREAM_FIRST_TOKEN_THRESHOLD,
        _seconds(86_400),
        "A stream without a first token after this long counts as stalled in the live gauge",
        unit="s",
        zero="waiting for the first token never counts",
    )
    metric_names: MetricNames = _setting(
        "old",
        environment.OTEL_TOKENSTREAM_METRIC_NAMES,
        _choice("old", "new", "both"),
        "Names of the convention's metrics: gen_ai.client.operation.* (old), gen_ai.client.inference.* (new)",
    )
    chunk_metrics: bool = _setting(
        True,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_CHUNK_METRICS,
        _boolean(),
        "Record every gap in the histogram of time per output chunk, off the read path",
    )
    fields: bool = _setting(
        True,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_FIELDS,
        _boolean(),
        "Attribute the chunks of DSPy programs to output fields",
    )
    request_usage: bool = _setting(
        False,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_REQUEST_USAGE,
        _boolean(),
        "Ask providers to report the usage of every stream; the program is not shown what it did not ask for",
    )
    proxy_attributes: frozenset[str] = _setting(
        frozenset(),
        environment.OTEL_TOKENSTREAM_PROXY_ATTRIBUTES,
        _several("team", "key_alias", "end_user"),
        "What litellm's proxy server knows of its caller that may stand on spans; nothing else of it ever does",
    )
    model_limit: int = _setting(
        100,
        environment.OTEL_TOKENSTREAM_MODEL_LIMIT,
        _whole(100_000),
        "Model names metrics may carry; further ones read _OTHER. Spans keep the name",
        unit="names",
        zero="every model reads _OTHER in metrics",
    )
    capture_content: CaptureContent = _setting(
        "NO_CONTENT",
        _CAPTURE_CONTENT,
        _choice("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"),
        "Whether prompts and answers may leave the process: on spans, on events, on both",
    )
    content_limit: int = _setting(
        16_384,
        environment.OTEL_TOKENSTREAM_CONTENT_LIMIT,
        _whole(1 << 24),
        "Text a span may carry in all, where content capture is on; the rest is left out",
        unit="bytes",
        zero="no text, only lengths",
    )
    content_value_limit: int = _setting(
        8_192,
        environment.OTEL_TOKENSTREAM_CONTENT_VALUE_LIMIT,
        _whole(1 << 24),
        "Text one attribute may carry; of a longer one the beginning is kept, and how much was left out",
        unit="bytes",
        zero="only the limit of the span holds",
    )
    redact: Callable[[str], str] | None = _setting(
        None,
        environment.OTEL_TOKENSTREAM_REDACT,
        _hook(),
        "Called on every text before it enters a signal; where it fails the text is left out",
    )

    @property
    def content_on_spans(self) -> bool:
        return self.capture_content in ("SPAN_ONLY", "SPAN_AND_EVENT")

    @property
    def content_on_events(self) -> bool:
        return self.capture_content in ("EVENT_ONLY", "SPAN_AND_EVENT")

    @property
    def content_share(self) -> int:
        """Bytes of text for the attributes of a span, and as many for its events if these have text as well."""
        shared = self.content_on_spans and self.content_on_events and self.events in ("span", "both")
        return self.content_limit // 2 if shared else self.content_limit

    @property
    def value_limit(self) -> int:
        return self.content_value_limit or self.content_limit

    @property
    def stall_threshold_ns(self) -> int:
        return round(self.stall_threshold * 1e9)

    @property
    def first_token_threshold_ns(self) -> int:
        return round(self.first_token_threshold * 1e9)

    @classmethod
    def load(
        cls,
        options: Mapping[str, object] | None = None,
        *,
        lenient: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> Settings:
        """Options by field name, then the environment, then the defaults.

        Raises:
            SettingError: an option, variable or value is unknown; with ``lenient`` it is
                logged as an error instead and the default is used.

        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        known = catalogue()
        for key, value in (options or {}).items():
            if key not in known:
                problems.append(_unknown("option", key, known))
            elif value is not None:
                _take(known[key], key, value, values, problems)
        by_variable = {setting.environment: setting for setting in known.values()}
        for variable, text in environ.items():
            if variable in by_variable:
                setting = by_variable[variable]
                if setting.name not in values and text.strip():
                    _take(setting, variable, text, values, problems)
            elif variable.startswith(_PREFIX):
                problems.append(_unknown("environment variable", variable, by_variable))
        if problems and not lenient:
            raise SettingError("; ".join(problems))
        for problem in problems:
            _log_once(problem)
        _withdraw_content(values)
        return cls(**values)


@cache
def catalogue() -> dict[str, Setting]:
    """Every setting by its field name, in the order of the documentation."""
    return {
        item.name: Setting(name=item.name, default=item.default, **item.metadata)
        for item in fields(Settings)
        if item.default is not MISSING
    }


@dataclass(init=False)
class Configuration:
    """Options of one instrumentation in a declarative configuration file.

    Takes any key, because the loader drops an instrumentation whose configuration class
    raises; a bad key or value is logged once and the default is used.
    """

    events: str | None = None
    event_budget: int | None = None
    offsets: int | None = None
    stall_threshold: float | None = None
    first_token_threshold: float | None = None
    metric_names: str | None = None
    chunk_metrics: bool | None = None
    fields: bool | None = None
    request_usage: bool | None = None
    proxy_attributes: str | None = None
    model_limit: int | None = None
    capture_content: str | None = None
    content_limit: int | None = None
    content_value_limit: int | None = None
    redact: object = None

    def __init__(self, **options: object) -> None:
        problems: list[str] = []
        values: dict[str, object] = {}
        known = catalogue()
        for key, value in options.items():
            if key not in known:
                problems.append(_unknown("option", key, known))
            elif value is not None:
                _take(known[key], key, value, values, problems)
        for problem in problems:
            _log_once(problem)
        _withdraw_content(values)
        for name in known:
            setattr(self, name, values.get(name))


def _take(setting: Setting, key: str, value: object, values: dict[str, object], problems: list[str]) -> None:
    try:
        values[setting.name] = setting.check(value)
    except (KeyError, TypeError, ValueError):
        values[setting.name] = (
            setting.default
        )  # not a lower layer's value: a bad wish for content must not switch it on
        problems.append(f"{key}={value!r} is not allowed: it takes {setting.allowed} (default {setting.default})")


def _withdraw_content(values: dict[str, object]) -> None:
    """A redaction that is not to be had must let nothing out unredacted."""
    if values.get("redact", values) is None:
        values["capture_content"] = "NO_CONTENT"


def _unknown(what: str, key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f", did you mean {near[0]}" if near else ""
    return f"unknown {what} {key!r}{hint}; known are {', '.join(sorted(known))}"


@cache
def _log_once(problem: str) -> None:
    _logger.error("otel-tokenstream: %s. Going on with the default.", problem)
