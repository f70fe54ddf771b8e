"""Variables that keep spans, metrics, tokens or content away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otel_tokenstream.doctor.findings import Check, Finding, fault, ok, warning
from otel_tokenstream.settings import SettingError, Settings, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.doctor.surroundings import Surroundings

_SPAN_EVENTS = "OTEL_SPAN_EVENT_COUNT_LIMIT"


def _exporters(around: Surroundings) -> Iterator[Finding]:
    if not around.can_start:
        return
    none = [signal for signal in ("traces", "metrics", "logs") if _is_none(around, signal)]
    if "traces" in none:
        yield fault("OTEL_TRACES_EXPORTER is none: no span leaves the process", "unset OTEL_TRACES_EXPORTER")
    if "metrics" in none:
        yield warning(
            "OTEL_METRICS_EXPORTER is none: no metric leaves the process, and dashboards stay empty",
            "unset OTEL_METRICS_EXPORTER",
        )
    if "logs" in none and around.variable("OTEL_TOKENSTREAM_EVENTS").lower() in ("log", "both"):
        yield fault(
            "token events are to be log records, and OTEL_LOGS_EXPORTER is none: none of them leaves the process",
            "unset OTEL_LOGS_EXPORTER",
        )
    start = around.start
    if start is None or start.problem or set(none) & {"traces", "metrics"}:
        return
    if not start.exporters:
        yield fault("the SDK has no exporter: nothing leaves the process", "export OTEL_TRACES_EXPORTER=otlp")
    else:
        yield ok("; ".join(f"{signal} by {', '.join(names)}" for signal, names in start.exporters.items()))


def _is_none(around: Surroundings, signal: str) -> bool:
    return around.variable(f"OTEL_{signal.upper()}_EXPORTER").lower() == "none"


def _sampler(around: Surroundings) -> Iterator[Finding]:
    start = around.start
    if start is None or start.problem or start.sampled is None:
        return
    # What it does below a parent depends on the parent.
    sampler = re.sub(r"^ParentBased\{root:(.*?),remoteParent.*", r"ParentBased(\1)", start.sampler)
    if start.sampled == 0:
        yield fault(f"the sampler {sampler} drops every trace that begins here", "export OTEL_TRACES_SAMPLER=always_on")
    elif start.sampled < 1:
        yield warning(
            f"the sampler {sampler} keeps about {start.sampled:.0%} of the traces; metrics count all calls",
            "export OTEL_TRACES_SAMPLER=parentbased_always_on",
        )
    else:
        yield ok(f"{sampler} keeps every trace that begins here")


def _settings(around: Surroundings) -> Iterator[Finding]:
    names = [setting.environment for setting in catalogue().values() if around.variable(setting.environment)]
    wrong = [name for name in around.environ if name.startswith("OTEL_TOKENSTREAM_")]
    for name in sorted({*names, *wrong}):
        if problem := _problem({name: around.environ[name]}):
            yield fault(problem, f"unset {name}")
    if _loaded(around) is not None:
        yield ok(f"{', '.join(sorted(names))} as set" if names else "every setting has its default")


def _problem(environ: dict[str, str]) -> str:
    try:
        Settings.load(environ=environ)
    except SettingError as error:
        return str(error)
    return ""


def _loaded(around: Surroundings) -> Settings | None:
    try:
        return Settings.load(environ=around.environ)
    except SettingError:
        return None


def _content(around: Surroundings) -> Iterator[Finding]:
    settings = _loaded(around)
    if settings is None:
        return
    if settings.capture_content == "NO_CONTENT":
        yield ok("prompts and answers stay in the process (NO_CONTENT)")
    else:
        redacted = "redacted" if settings.redact is not None else "unredacted"
        yield ok(f"prompts and answers leave the process {redacted} ({settings.capture_content})")


def _tokens(around: Surroundings) -> Iterator[Finding]:
    settings = _loaded(around)
    if settings is None:
        return
    if settings.events == "none":
        yield warning("OTEL_TOKENSTREAM_EVENTS is none: spans have no token events", "unset OTEL_TOKENSTREAM_EVENTS")
    elif settings.events in ("span", "both") and settings.event_budget == 0:
        yield warning(
            "OTEL_TOKENSTREAM_EVENT_BUDGET is 0: spans have no token events", "unset OTEL_TOKENSTREAM_EVENT_BUDGET"
        )
    elif settings.events in ("span", "both") and around.variable(_SPAN_EVENTS) == "0":
        yield warning(f"{_SPAN_EVENTS} is 0: the SDK drops every event of a span", f"unset {_SPAN_EVENTS}")
    else:
        asked = "for every stream" if settings.request_usage else "where the program does"
        yield ok(f"OTEL_TOKENSTREAM_EVENTS is {settings.events}; token numbers are asked for {asked}")


CHECKS = (
    Check("settings", "unknown settings of ours, and values that are not allowed", _settings),
    Check("content", "whether prompts and answers leave the process", _content),
    Check("token events", "settings and limits that leave spans without token events", _tokens),
    Check("exporters", "exporters that are `none`, unknown, or not installed", _exporters),
    Check("sampler", "the share of traces that the SDK's sampler keeps", _sampler, "auto"),
)
