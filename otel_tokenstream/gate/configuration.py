"""``tokenstream-gate.toml``: which streams, which limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from otel_tokenstream.analysis import objectives
from otel_tokenstream.analysis.selection import Condition, dimension
from otel_tokenstream.gate.metrics import MEASURES, SHARES, Goodput
from otel_tokenstream.gate.objectives import Covered, FirstTokenLate, WaitLate, limits_of, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

QUANTILES = ("p50", "p90", "p95", "p99")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "min": 60_000.0}

Kind = Literal["budget", "regression"]


class ConfigurationError(Exception):
    """The file cannot be read or says something that is not allowed; the text names the place and what is."""


@dataclass(frozen=True)
class Limit:
    """One line of a table: ``metric`` of ``MEASURES`` with a ``quantile`` from 0 to 1, of ``SHARES``, or ``goodput``.

    ``bound`` of a budget is in ms, or a share from 0 to 1. Of a regression it is how much more than the baseline is
    allowed: a share of the baseline's value, or for shares a number of points from 0 to 1.
    """

    key: str
    metric: str
    quantile: float | None
    bound: float
    goodput: Goodput | FirstTokenLate | WaitLate | None = None


@dataclass(frozen=True)
class Table:
    """One ``[[budget]]`` or ``[[regression]]``: limits for the streams that ``where`` finds, or for all.

    One made of an objective need find none: a file of objectives covers more than a recording has.
    """

    kind: Kind
    name: str
    where: Condition | Covered | None
    limits: tuple[Limit, ...]

    @property
    def may_find_none(self) -> bool:
        return isinstance(self.where, Covered)


@dataclass(frozen=True)
class Configuration:
    """``level`` is the confidence that a verdict needs; ``seed`` makes resampling repeatable."""

    tables: tuple[Table, ...]
    level: float = 0.95
    seed: int = 1

    @property
    def needs_baseline(self) -> bool:
        return any(table.kind == "regression" for table in self.tables)


def load(path: Path) -> Configuration:
    """Read the file.

    Raises:
        ConfigurationError: the file is missing, is no TOML, or has an unknown key or a value that is not allowed.
        ModuleNotFoundError: Python 3.10 needs the extra "gate" to read TOML.

    """
    tomllib = _toml_reader()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path}: {error.strerror}; docs/gate.md shows what the file looks like"
        raise ConfigurationError(message) from error
    except ValueError as error:  # of which the readers' own errors are subclasses
        message = f"{path} is no TOML: {error}"
        raise ConfigurationError(message) from error
    try:
        return parse(content, path.parent)
    except ConfigurationError as error:
        message = f"{path}: {error}"
        raise ConfigurationError(message) from error


def parse(content: Mapping[str, Any], folder: Path = Path()) -> Configuration:
    """Check the content of a file in ``folder``; raises ConfigurationError without the file's name."""
    _only(content, {"level", "seed", "budget", "regression", "objectives"}, "the file")
    level, seed = content.get("level", 0.95), content.get("seed", 1)
    if not isinstance(level, float) or not 0.5 <= level < 1:
        message = f"level is {level!r}; take a number from 0.5 to below 1, such as 0.95"
        raise ConfigurationError(message)
    if not isinstance(seed, int) or isinstance(seed, bool):
        message = f"seed is {seed!r}; take a whole number"
        raise ConfigurationError(message)
    kinds: tuple[Kind, ...] = ("budget", "regression")
    tables = tuple(
        _table(kind, number, each) for kind in kinds for number, each in enumerate(_tables(content, kind), 1)
    )
    if "objectives" in content:
        tables = (*_of_objectives(content["objectives"], folder), *tables)
    if not tables:
        message = "it has neither a [[budget]] nor a [[regression]] nor objectives: there is nothing to judge"
        raise ConfigurationError(message)
    return Configuration(tables, level, seed)


def _of_objectives(given: object, folder: Path) -> Iterator[Table]:
    if not isinstance(given, str):
        message = f'objectives is {given!r}; name a file, as "objectives.yaml", relative to this one'
        raise ConfigurationError(message)
    try:
        found = objectives.load(folder / given)
    except ValueError as error:
        message = f"objectives: {error}"
        raise ConfigurationError(message) from error
    for each in found.ordered:
        limits = tuple(Limit(key, key, None, bound, judge) for key, bound, judge in limits_of(each))
        yield Table("budget", name_of(each), Covered(found, each), limits)


def _tables(content: Mapping[str, Any], kind: Kind) -> list[Mapping[str, Any]]:
    found = content.get(kind, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        message = f"{kind} is no list of tables; begin each with [[{kind}]]"
        raise ConfigurationError(message)
    return found


def _table(kind: Kind, number: int, content: Mapping[str, Any]) -> Table:
    name = content.get("name", f"{kind} {number}")
    place = f"[[{kind}]] {name!r}"
    if not isinstance(name, str):
        message = f"the name of {place} is no text"
        raise ConfigurationError(message)
    keys = [key for key in content if key not in ("name", "where")]
    limits = tuple(_limit(kind, place, key, content[key]) for key in keys)
    if not limits:
        message = f"{place} has no limit; it takes {', '.join(_keys(kind))}"
        raise ConfigurationError(message)
    return Table(kind, name, _where(place, content.get("where")), limits)


def _where(place: str, given: object) -> Condition | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        message = f'where of {place} is no table of texts; write it like {{ service = "shop", model = "gpt-4o" }}'
        raise ConfigurationError(message)
    try:
        parts = tuple((dimension(word), value) for word, value in given.items())
    except ValueError as error:
        message = f"where of {place}: {error}"
        raise ConfigurationError(message) from error
    return Condition(",".join(f"{word}={value}" for word, value in given.items()), parts)


def _limit(kind: Kind, place: str, key: str, given: object) -> Limit:
    metric, _, quantile = key.rpartition("_")
    at = f"{key} of {place}"
    if metric in MEASURES and quantile in QUANTILES:
        bound = _milliseconds(at, given) if kind == "budget" else _share(at, given)
        return Limit(key, metric, int(quantile[1:]) / 100, bound)
    if key in SHARES:
        return Limit(key, key, None, _share(at, given))
    if key == "goodput" and kind == "budget":
        goodput = _goodput(at, given)
        return Limit(key, key, None, 1 - goodput.at_least, goodput)
    message = f"{place} has the unknown key {key!r}; it takes {', '.join(_keys(kind))}"
    raise ConfigurationError(message)


def _keys(kind: Kind) -> list[str]:
    keys = [*(f"{name}_{quantile}" for name in MEASURES for quantile in QUANTILES), *SHARES]
    return [*keys, "goodput"] if kind == "budget" else keys


def _goodput(at: str, given: object) -> Goodput:
    if not isinstance(given, dict) or "at_least" not in given or len(given) < 2:
        message = f'{at} is no table like {{ at_least = "95 %", first_token = "1 s", duration = "20 s" }}'
        raise ConfigurationError(message)
    _only(given, {"at_least", *MEASURES}, at)
    limits = tuple((name, _milliseconds(f"{name} in {at}", given[name])) for name in given if name != "at_least")
    return Goodput(_share(f"at_least in {at}", given["at_least"]), limits)


def _milliseconds(at: str, given: object) -> float:
    match = _QUANTITY.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None or not float(match[1]):
        message = f'{at} is {given!r}; write a length of time above 0 with its unit, like "2.5 s" or "80 ms"'
        raise ConfigurationError(message)
    return float(match[1]) * _MS[match[2]]


def _share(at: str, given: object) -> float:
    match = _SHARE.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None:
        message = f'{at} is {given!r}; write a share in percent, like "1 %"'
        raise ConfigurationError(message)
    return float(match[1]) / 100


def _only(given: Mapping[str, Any], known: set[str], place: str) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        message = f"{place} has the unknown key {unknown[0]!r}; it takes {', '.join(sorted(known))}"
        raise ConfigurationError(message)


def _toml_reader() -> Any:
    try:
        import tomllib  # noqa: PLC0415  # in the standard library since Python 3.11
    except ModuleNotFoundError:
        try:
            import tomli  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415  # Python 3.10 alone has it
        except ModuleNotFoundError as error:
            message = 'the gate needs tomli on Python 3.10: pip install "otel-tokenstream[gate]"'
            raise ModuleNotFoundError(message, name=error.name) from error
        return tomli
    return tomllib
