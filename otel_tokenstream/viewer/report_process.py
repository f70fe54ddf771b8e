"""One report in a process of its own: it can be ended at any moment, and its memory goes with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from otel_tokenstream.analysis.objectives import DEFAULTS, load
from otel_tokenstream.analysis.over_time import AUTO
from otel_tokenstream.analysis.page import as_html
from otel_tokenstream.analysis.report import NothingFoundError, Question, answer
from otel_tokenstream.analysis.selection import Condition
from otel_tokenstream.analysis.sources import SourceError
from otel_tokenstream.analysis.units import seconds

NOTHING_FOUND, WRONG_WORDS, NO_SOURCE, NO_MEMORY = 10, 11, 12, 13
"""Exit codes; what is said then stands on stdout in place of the report."""

PROGRESS = "read: "
"""Begins a line on stderr that says which share of the database was read."""

_SIDES = 2
_LONGEST_TIME = 15
_MOST_MEMORY = 3 * 2**30


def main() -> int:
    """Read ``{"database", "objectives", "words", "html"}`` from stdin; ``words`` are pairs of a request's query."""
    asked = json.load(sys.stdin)
    _bound_memory()
    try:
        report = answer(_question(Path(asked["database"]), asked["objectives"], asked["words"]), _tell)
        back = "" if ["frame", "1"] in asked["words"] else "./"
        text = as_html(report, back) if asked["html"] else json.dumps(report.as_json(), separators=(",", ":"))
    except NothingFoundError:
        return _ended("no such stream yet", NOTHING_FOUND)
    except ValueError as error:
        return _ended(str(error), WRONG_WORDS)
    except SourceError as error:
        return _ended(str(error), NO_SOURCE)
    except MemoryError:
        return _ended("the streams are more than a report can hold; narrow it down with since or where", NO_MEMORY)
    return _ended(text, 0)


def _question(database: Path, objectives: str | None, words: list[tuple[str, str]]) -> Question:
    """Raises ValueError."""
    last: dict[str, str] = dict(words)
    # Conditions alone: a page must not be able to name the files of this machine.
    sides = [Condition.parse(text) for word, text in words if word == "compare"]
    if len(sides) not in {0, _SIDES}:
        message = "compare takes two conditions: ?compare=model=a&compare=model=b"
        raise ValueError(message)
    return Question(
        files=(database,),
        since_s=seconds(last["since"]) if "since" in last else None,
        by=tuple(word for word in last.get("by", "operation,model").split(",") if word),
        where=tuple(Condition.parse(text) for word, text in words if word == "where"),
        from_ns=_nanoseconds(last, "from"),
        to_ns=_nanoseconds(last, "to"),
        over=last.get("over", AUTO),
        compare=(sides[0], sides[1]) if sides else None,
        objectives=load(Path(objectives)) if objectives else DEFAULTS,
    )


def _nanoseconds(words: dict[str, str], name: str) -> int | None:
    """Raises ValueError."""
    text = words.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_TIME):
        message = f"{name} is {text!r}; give milliseconds since 1970"
        raise ValueError(message)
    return int(text) * 10**6


def _tell(share: float) -> None:
    print(f"{PROGRESS}{share:.3f}", file=sys.stderr, flush=True)  # noqa: T201  # the viewer reads it


def _ended(text: str, code: int) -> int:
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    return code


def _bound_memory() -> None:
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ModuleNotFoundError:
        return
    limits: Any = resource.getrlimit(resource.RLIMIT_AS)
    if limits[0] == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, limits[1]))


if __name__ == "__main__":
    raise SystemExit(main())
