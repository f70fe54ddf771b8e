"""From sources and words to figures: everything text, page and JSON show."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_tokenstream.analysis.comparison import Comparison, compared
from otel_tokenstream.analysis.groups import MOST_GROUPS, Group, group_of, grouped, with_few_outcomes
from otel_tokenstream.analysis.in_time import InTime, in_time
from otel_tokenstream.analysis.objectives import DEFAULTS, Objectives
from otel_tokenstream.analysis.over_time import AUTO, OverTime, over_time, utc
from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.selection import Condition, attributes_of, dimension
from otel_tokenstream.analysis.sources import SourceError, tempo, viewer_database
from otel_tokenstream.analysis.sources.files import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tokenstream.analysis.stream import Stream

VERSION = 1
"""Of the JSON report's shape; raised when something in it changes its meaning or goes."""


class NothingFoundError(Exception):
    """There is no stream to report on; the text says where was looked and what to do."""


Side = Condition | Path
"""Of a comparison: streams among the others, or a recording of its own."""


@dataclass(frozen=True)
class Tempo:
    """Address and options of a Tempo server; see ``sources.tempo``."""

    url: str
    query: str = ""
    tenant: str = ""
    limit: int = 2000


@dataclass(frozen=True)
class Question:
    """The subject of a report. Without ``files`` and ``tempo`` it reads the viewer's own database."""

    files: tuple[Path, ...] = ()
    tempo: Tempo | None = None
    since_s: float | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    by: tuple[str, ...] = ("operation", "model")
    where: tuple[Condition, ...] = ()
    over: str = AUTO
    compare: tuple[Side, Side] | None = None
    objectives: Objectives = DEFAULTS


@dataclass(frozen=True)
class Report:
    """Times are ISO 8601 in UTC; every other value is in the unit its name ends with."""

    version: int
    made: str
    sources: list[str]
    where: list[str]
    by: list[str]
    start: str
    end: str
    total: Group
    groups: list[Group]
    in_time: list[InTime]
    over_time: OverTime
    comparison: Comparison | None
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """For json.dumps. What was not measured is null."""
        return asdict(self)


def answer(question: Question, on_progress: Callable[[float], None] = lambda _: None) -> Report:
    """``on_progress`` is told how much of a source was read, from 0 to 1, where that is known.

    Raises SourceError, NothingFoundError; ValueError where ``by`` or ``over`` names nothing.
    """
    by = list(dict.fromkeys(dimension(word) for word in question.by))
    sides = question.compare or ()
    conditions = [*question.where, *(side for side in sides if isinstance(side, Condition))]
    wanted = attributes_of([*by, *(name for condition in conditions for name in condition.names)])
    now = time.time()
    files = [side for side in sides if isinstance(side, Path)]
    recordings = {path: _recorded([path], None, question, wanted, now, on_progress) for path in files}
    if len(files) < 2 or question.files or question.tempo:
        main = _recorded(question.files, question.tempo, question, wanted, now, on_progress)
    else:
        main = _Read([], [], [])
    streams = _sorted([*main.streams, *(stream for read in recordings.values() for stream in read.streams)])
    sources = [*main.sources, *(source for read in recordings.values() for source in read.sources)]
    if not streams:
        raise NothingFoundError(_nothing(sources, question))
    comparison = None
    if question.compare:
        a, b = (
            recordings[side].streams if isinstance(side, Path) else [s for s in main.streams if side.holds(s)]
            for side in question.compare
        )
        names = str(question.compare[0]), str(question.compare[1])
        for name, found in zip(names, (a, b), strict=True):
            if not found:
                message = f"no stream to compare: {name} finds none among the {len(streams)} of {', '.join(sources)}"
                raise NothingFoundError(message)
        comparison = compared(names, a, b)
        chosen = {id(stream) for stream in (*a, *b)}
        streams = [stream for stream in streams if id(stream) in chosen]  # the report is about those two
    streams = with_few_outcomes(streams)
    groups = grouped(streams, by)
    over, note = over_time(streams, question.over)
    notes = [*main.notes, *(note for read in recordings.values() for note in read.notes)]
    if len(groups) > MOST_GROUPS:
        notes.append(f"only the {MOST_GROUPS} largest groups are shown each for itself, and the others together")
    if note:
        notes.append(note)
    return Report(
        version=VERSION,
        made=utc(int(now * 1e9)),
        sources=sources,
        where=[str(condition) for condition in question.where],
        by=by,
        start=utc(streams[0].start_ns),
        end=utc(max(stream.end_ns for stream in streams)),
        total=group_of({}, streams),
        groups=groups,
        in_time=in_time(streams, question.objectives),
        over_time=over,
        comparison=comparison,
        notes=notes,
    )


@dataclass(frozen=True)
class _Read:
    streams: list[Stream]
    sources: list[str]
    notes: list[str]


def _recorded(
    files: Sequence[Path],
    server: Tempo | None,
    question: Question,
    wanted: Sequence[str],
    now: float,
    on_progress: Callable[[float], None],
) -> _Read:
    since_s = question.since_s
    since_ns = int((now - since_s) * 1e9) if since_s is not None else 0
    until = {} if question.to_ns is None else {"until_ns": question.to_ns}
    recording = Recording(wanted, max(since_ns, question.from_ns or 0), **until, on_progress=on_progress)
    sources = []
    for path in files if files or server else [_own_database()]:
        read_file(path, recording)
        sources.append(str(path))
    if server is not None:
        start_s = int(now - (3600 if since_s is None else since_s))
        query = server.query or tempo.DEFAULT_QUERY
        # Tempo searches recent data only in windows that end before now.
        tempo.Tempo(server.url, start_s, int(now) + 1, query, server.tenant, server.limit).read(recording)
        sources.append(f"{server.url} {server.query}".strip())
    streams = [stream for stream in recording.streams() if all(each.holds(stream) for each in question.where)]
    return _Read(streams, sources, recording.notes)


def _own_database() -> Path:
    path = viewer_database.default_path()
    if not path.exists():
        message = (
            f"there is no viewer database yet ({path}); record into it with: otel-tokenstream view\n"
            "or name another source: a viewer database, a file of OTLP in JSON, or --tempo URL"
        )
        raise SourceError(message)
    return path


def side_of(text: str) -> Side:
    """A file if there is one of that name. Raises ValueError."""
    path = Path(text)
    if path.exists():
        return path
    if "=" not in text:
        message = f"{text!r} is neither a file nor a condition like model=gpt-4o"
        raise ValueError(message)
    return Condition.parse(text)


def _sorted(streams: list[Stream]) -> list[Stream]:
    return sorted(streams, key=lambda stream: (stream.start_ns, stream.span_id))


def _nothing(sources: Sequence[str], question: Question) -> str:
    parts = [f"no stream that ended in {', '.join(sources)}"]
    if question.where:
        parts.append(f"with {' and '.join(map(str, question.where))}")
    if question.since_s is not None or question.tempo:
        parts.append("in the time asked for: a longer --since may find some")
    return " ".join(parts)
