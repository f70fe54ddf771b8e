"""Settings: every one with its environment variable, default, unit and what zero means.

``instrument()`` takes each by its field name and raises ``SettingError`` on a bad one. Under
``opentelemetry-instrument``, where raising would switch off every instrumentation of the
process, a bad one is logged as an error and its default is used.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from otel_tokenstream import environment
from otel_tokenstream import setting_kinds as kinds
from otel_tokenstream.setting_kinds import NamedHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Configuration", "NamedHook", "Setting", "SettingError", "Settings", "catalogue"]

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


def _setting(
    default: Any,
    environment: str,
    kind: tuple[str, Callable[[object], Any]],
    brief: str,
    *,
    unit: str = "",
    zero: str = "",
    shown: bool = True,
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
    return field(default=default, metadata=metadata, repr=shown)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; see ``catalogue()`` for names, units and meanings."""

    events: Emitters = _setting(
        "span",
        environment.OTEL_TOKENSTREAM_EVENTS,
        kinds.choice("span", "log", "both", "none"),
        "Where token events go: on the span when it ends, as log records while the stream runs, or both",
    )
    event_budget: int = _setting(
        32,
        environment.OTEL_TOKENSTREAM_EVENT_BUDGET,
        kinds.whole(1024),
        "Events a span may carry; chunks beyond it share events. Never above the tracer's own limit, "
        "nor above what 8 KiB hold, some 30",
        unit="events",
        zero="no events on spans",
    )
    offsets: int = _setting(
        256,
        environment.OTEL_TOKENSTREAM_OFFSETS,
        kinds.whole(4096),
        "Points of tokenstream.offsets_us, the finer picture of a stream whose events were merged",
        unit="points",
        zero="no offsets",
    )
    stall_threshold: float = _setting(
        2.0,
        environment.OTEL_TOKENSTREAM_STALL_THRESHOLD,
        kinds.seconds(86_400),
        "A read after the first token that is blocked for this long is a stall",
        unit="s",
        zero="stalls are not looked for",
    )
    first_token_threshold: float = _setting(
        30.0,
        environment.OTEL_TOKENSTREAM_FIRST_TOKEN_THRESHOLD,
        kinds.seconds(86_400),
        "A stream without a first token after this long counts as stalled in the live gauge",
        unit="s",
        zero="waiting for the first token never counts",
    )
    metric_names: MetricNames = _setting(
        "old",
        environment.OTEL_TOKENSTREAM_METRIC_NAMES,
        kinds.choice("old", "new", "both"),
        "Names of the GenAI conventions: of version 1.41 (old), of 0.1 (new), or both; the table is in docs/signals.md",
    )
    chunk_metrics: bool = _setting(
        True,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_CHUNK_METRICS,
        kinds.boolean(),
        "Record every gap in the histogram of time per output chunk, off the read path",
    )
    fields: bool = _setting(
        True,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_FIELDS,
        kinds.boolean(),
        "Attribute the chunks of DSPy programs to output fields",
    )
    dspy_stream: frozenset[str] = _setting(
        frozenset(),
        environment.OTEL_TOKENSTREAM_DSPY_STREAM,
        kinds.field_list(),
        "Ask for the answers of DSPy programs as streams, though the programs do not, where they have these fields",
    )
    dspy_optimizers: bool = _setting(
        False,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_DSPY_OPTIMIZERS,
        kinds.boolean(),
        "Show modules, tools and tokens in DSPy's Evaluate and optimizers too, which call programs by the thousand",
    )
    langchain_steps: int = _setting(
        200,
        environment.OTEL_TOKENSTREAM_LANGCHAIN_STEPS,
        kinds.whole(100_000),
        "Spans that one run of a LangChain program may have for its chains, nodes, tools and retrievers",
        unit="spans",
        zero="none of them",
    )
    langchain_ids: frozenset[str] = _setting(
        frozenset(),
        environment.OTEL_TOKENSTREAM_LANGCHAIN_IDS,
        kinds.several("thread_id", "run_id"),
        "Ids of a LangChain program's run that are correlated: LangGraph's thread_id as gen_ai.conversation.id, the id "
        "of the outermost run as tokenstream.request_id. What the program gives to correlate comes first",
    )
    request_usage: bool = _setting(
        False,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_REQUEST_USAGE,
        kinds.boolean(),
        "Ask providers to report the usage of every stream; the program is not shown what it did not ask for. "
        "A server that knows no stream_options may refuse the request",
    )
    proxy_attributes: frozenset[str] = _setting(
        frozenset(),
        environment.OTEL_TOKENSTREAM_PROXY_ATTRIBUTES,
        kinds.several("team", "key_alias", "end_user"),
        "What litellm's proxy server knows of its caller that may stand on spans; nothing else of it ever does",
    )
    model_limit: int = _setting(
        100,
        environment.OTEL_TOKENSTREAM_MODEL_LIMIT,
        kinds.whole(100_000),
        "Model names metrics may carry; further ones read _OTHER. Spans keep the name",
        unit="names",
        zero="every model reads _OTHER in metrics",
    )
    capture_content: CaptureContent = _setting(
        "NO_CONTENT",
        _CAPTURE_CONTENT,
        kinds.choice("NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"),
        "Whether prompts and answers may leave the process: on spans, on events, on both",
    )
    content_limit: int = _setting(
        16_384,
        environment.OTEL_TOKENSTREAM_CONTENT_LIMIT,
        kinds.whole(1 << 24),
        "Text a span may carry in all, where content capture is on; the rest is left out",
        unit="bytes",
        zero="no text, only lengths",
    )
    content_value_limit: int = _setting(
        8_192,
        environment.OTEL_TOKENSTREAM_CONTENT_VALUE_LIMIT,
        kinds.whole(1 << 24),
        "Text one attribute may carry; of a longer one the beginning is kept, and how much was left out",
        unit="bytes",
        zero="only the limit of the span holds",
    )
    redact: Callable[[str], str] | None = _setting(
        None,
        environment.OTEL_TOKENSTREAM_REDACT,
        kinds.hook(),
        "Called on every text before it enters a signal; where it fails the text is left out",
    )

    live: tuple[str, ...] = _setting(
        (),
        environment.OTEL_TOKENSTREAM_LIVE,
        kinds.outlets(),
        "Where tokens go while they come, beside the telemetry: to the terminal, to Redis Streams, to RabbitMQ",
        shown=False,  # addresses of brokers have passwords
    )
    live_text: bool = _setting(
        False,  # the default of a setting, named by its field
        environment.OTEL_TOKENSTREAM_LIVE_TEXT,
        kinds.boolean(),
        "Whether what goes there has the text itself; without it times, fields and counts",
    )
    baggage_keys: tuple[str, ...] = _setting(
        (),
        environment.OTEL_TOKENSTREAM_BAGGAGE_KEYS,
        kinds.keys("keys of OpenTelemetry baggage"),
        "Baggage that becomes attributes of spans, log records and live events, under its own name. Never written",
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
    def new_names(self) -> bool:
        return self.metric_names in ("new", "both")

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
        _take_options(options or {}, values, problems)
        by_variable = {setting.environment: setting for setting in catalogue().values()}
        unknown = [name for name in environ if name.startswith(_PREFIX) and name not in by_variable]
        for variable, setting in by_variable.items():
            text = environ.get(variable, "")
            if setting.name not in values and text.strip():
                _take(setting, variable, text, values, problems)
        for variable in unknown:
            _miss("environment variable", variable, by_variable, values, problems)
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


@dataclass(init=False, repr=False, eq=False)
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
    dspy_stream: str | None = None
    dspy_optimizers: bool | None = None
    langchain_steps: int | None = None
    langchain_ids: str | None = None
    request_usage: bool | None = None
    proxy_attributes: str | None = None
    model_limit: int | None = None
    capture_content: str | None = None
    content_limit: int | None = None
    content_value_limit: int | None = None
    redact: object = None
    live: str | None = None
    live_text: bool | None = None
    baggage_keys: str | None = None

    def __init__(self, **options: object) -> None:
        problems: list[str] = []
        values: dict[str, object] = {}
        _take_options(options, values, problems)
        for problem in problems:
            _log_once(problem)
        _withdraw_content(values)
        for name in catalogue():
            setattr(self, name, values.get(name))


def _take_options(options: Mapping[str, object], values: dict[str, Any], problems: list[str]) -> None:
    known = catalogue()
    for key, value in options.items():
        if key in known and value is not None:
            _take(known[key], key, value, values, problems)
    for key in options:
        if key not in known:
            _miss("option", key, known, values, problems)


def _take(setting: Setting, key: str, value: object, values: dict[str, object], problems: list[str]) -> None:
    try:
        values[setting.name] = setting.check(value)
    except (KeyError, TypeError, ValueError):
        values[setting.name] = (
            setting.default
        )  # not a lower layer's value: a bad wish for content must not switch it on
        problems.append(
            f"{key}={_without_passwords(value)} is not allowed: it takes {setting.allowed} (default {setting.default})"
        )


def _without_passwords(value: object) -> str:
    return re.sub(r"//[^@/\s]*@", "//...@", repr(value))


def _withdraw_content(values: dict[str, object]) -> None:
    """A redaction that is not to be had, or only under a misspelt name, must let nothing out unredacted."""
    if values.get("redact", values) is None:
        values["capture_content"] = "NO_CONTENT"
        values["live_text"] = False


def _miss(what: str, key: str, known: Mapping[str, Setting], values: dict[str, Any], problems: list[str]) -> None:
    import difflib  # noqa: PLC0415  # a name is seldom misspelt, and every process would load it

    near = difflib.get_close_matches(key, known, n=1)
    hint = f", did you mean {near[0]}" if near else ""
    problems.append(f"unknown {what} {key!r}{hint}; known are {', '.join(sorted(known))}")
    if near and known[near[0]].name == "redact":
        values.setdefault("redact", None)


@cache
def _log_once(problem: str) -> None:
    _logger.error("otel-tokenstream: %s. Going on with the default.", problem)
