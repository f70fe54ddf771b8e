"""Objectives of streams: defaults, then overrides by service and model, as alerts, viewer and reports judge by them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals

if TYPE_CHECKING:
    from pathlib import Path

# The budget (1 - share) must leave room above it for a page, and a share of 1 leaves no budget to burn.
_SHARES = (0.5, 0.9999)


@dataclass(frozen=True)
class Within:
    """A share of streams that keep within a bound, in seconds."""

    seconds: float
    share: float

    @property
    def budget(self) -> float:
        """The share of streams that may exceed the bound."""
        return round(1 - self.share, 6)

    @property
    def page_above(self) -> float:
        """The share of late streams, over 10 and over 5 minutes, above which somebody is paged.

        14.4 times the budget, as usual for 99 % and more. A budget of 5 % cannot burn that fast for long:
        a quarter of all streams is enough then, and never less than one and a half times the budget.
        """
        return round(min(14.4 * self.budget, max(0.25, 1.5 * self.budget)), 6)

    @property
    def ticket_above(self) -> float:
        """The share of late streams, over 6 hours and over 30 minutes, above which there is a ticket."""
        return round(min(6 * self.budget, max(0.075, 1.2 * self.budget)), 6)

    @property
    def le(self) -> str:
        """The matcher of the bucket with this bound: OTLP writes 10, a scraped histogram 10.0."""
        bound = f"{self.seconds:g}"
        return f'le="{bound}"' if "." in bound else f'le=~"{bound}|{bound}.0"'


@dataclass(frozen=True)
class Objective:
    """An objective for the streams of some services and models, or of all where there are no patterns."""

    first_token: Within
    wait: Within
    failed: float
    given_up: float
    services: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def first_token_late(self, first_token_ms: float | None, outcome: str | None) -> bool | None:
        """Return whether a stream's first token missed this; None where nobody knows.

        A stream that failed before any token is late, as in the alerts; one that its reader left before is not counted.
        """
        if first_token_ms is None:
            return True if outcome == "failed" else None
        return first_token_ms > 1000 * self.first_token.seconds

    def covers(self, service: str, model: str) -> bool:
        """Return whether a stream of this service and model is meant."""
        return _matches(service, self.services) and _matches(model, self.models)

    @property
    def matchers(self) -> str:
        """PromQL's label matchers for the streams meant, empty for all of them."""
        labels = (("service_name", self.services), ("gen_ai_request_model", self.models))
        return ",".join(f"{label}=~{_quoted(_regex(patterns))}" for label, patterns in labels if patterns)


@dataclass(frozen=True)
class Objectives:
    """All objectives: the overrides in their order, then the default."""

    default: Objective
    overrides: tuple[Objective, ...] = ()

    @property
    def ordered(self) -> tuple[Objective, ...]:
        """Overrides first: the first that covers a stream counts."""
        return (*self.overrides, self.default)

    def of(self, service: str, model: str) -> Objective:
        """Return the objective of one service's streams of one model."""
        return next(each for each in self.ordered if each.covers(service, model))


_UNTOLD = Objective(Within(2.5, 0.95), Within(2.5, 0.99), failed=0.05, given_up=0.2)
_THINKING = ("o1*", "o3*", "o4-*", "deepseek-r1*", "*reason*", "*thinking*")
DEFAULTS = Objectives(_UNTOLD, (replace(_UNTOLD, first_token=Within(10, 0.95), models=_THINKING),))
"""The objectives of ``grafana/objectives.yaml`` as shipped, used where no file is named."""


def load(path: Path) -> Objectives:
    """Read a file of objectives.

    Raises:
        ValueError: it cannot be read, or a key, bound, share or pattern is not allowed; the message says which are.
        ModuleNotFoundError: PyYAML is missing; the message names the extra that has it.

    """
    yaml = _yaml()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        known = _mapping(content, {"defaults", "overrides"}, "the file")
        default = _read(_UNTOLD, known.get("defaults"), "defaults", patterns=False)
        entries = known.get("overrides") or []
        if not isinstance(entries, list):
            msg = "overrides must be a list"
            raise ValueError(msg)  # noqa: TRY301, TRY004
        return Objectives(
            default,
            tuple(
                _read(default, entry, f"overrides, entry {number}", patterns=True)
                for number, entry in enumerate(entries, 1)
            ),
        )
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise ValueError(msg) from error
    except (ValueError, yaml.YAMLError) as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from error


def _yaml() -> Any:
    try:
        import yaml  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415  # in an extra
    except ModuleNotFoundError as error:
        msg = 'objectives are read with PyYAML: pip install "otel-tokenstream[viewer]"'
        raise ModuleNotFoundError(msg, name=error.name) from error
    return yaml


def _read(base: Objective, content: Any, where: str, *, patterns: bool) -> Objective:
    allowed = {"first_token", "wait", "failed", "given_up", *(("service", "model") if patterns else ())}
    found = _mapping(content, allowed, where)
    services = _patterns(found.get("service"), f"{where}, service")
    models = _patterns(found.get("model"), f"{where}, model")
    if patterns and not (services or models):
        msg = f"{where}: name a service or a model; what holds for all stands in defaults"
        raise ValueError(msg)
    return replace(
        base,
        first_token=_within(base.first_token, found.get("first_token"), signals.TIME_TO_FIRST_TOKEN, where),
        wait=_within(base.wait, found.get("wait"), signals.WAIT_MAX, where),
        failed=_share(found.get("failed", base.failed), f"{where}, failed", 0.0001, 0.99),
        given_up=_share(found.get("given_up", base.given_up), f"{where}, given_up", 0.0001, 0.99),
        services=services,
        models=models,
    )


def _within(base: Within, content: Any, metric: str, where: str) -> Within:
    found = _mapping(content, {"within", "share"}, f"{where}, first_token and wait")
    seconds, bounds = found.get("within", base.seconds), signals.METRICS[metric].buckets
    if isinstance(seconds, bool) or seconds not in bounds:
        msg = f"{where}: within is {seconds!r}; only a bucket's bound gives an exact share of `{metric}`, one of "
        raise ValueError(msg + ", ".join(f"{bound:g}" for bound in bounds))
    return Within(float(seconds), _share(found.get("share", base.share), f"{where}, share", *_SHARES))


def _share(value: Any, where: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        msg = f"{where} is {value!r}; it must be a number from {least:g} to {most:g}"
        raise ValueError(msg)
    return float(value)


def _mapping(content: Any, allowed: set[str], where: str) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict) or not set(content) <= allowed:
        named = sorted(map(str, set(content) - allowed)) if isinstance(content, dict) else repr(content)
        msg = f"{where}: {named} is not known; allowed are {', '.join(sorted(allowed))}"
        raise ValueError(msg)
    return content


def _patterns(value: Any, where: str) -> tuple[str, ...]:
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
        msg = f"{where} is {value!r}; it must be a pattern or a list of patterns"
        raise ValueError(msg)
    return tuple(found)


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or re.fullmatch(_regex(patterns), value) is not None


def _regex(patterns: tuple[str, ...]) -> str:
    """Return an expression for Python and PromQL, both of which must match the whole value."""
    return "|".join(re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in patterns)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
