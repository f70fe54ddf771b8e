"""The streams that a gate judges: of files, of a folder's newest files, of Tempo, or one side of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.selection import Condition, attributes_of
from otel_tokenstream.analysis.sources.files import read_file
from otel_tokenstream.analysis.sources.tempo import DEFAULT_QUERY, Tempo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from otel_tokenstream.analysis.stream import Stream
    from otel_tokenstream.gate.configuration import Configuration

_SUFFIXES = (".db", ".json", ".jsonl", ".gz")


class RecordingError(Exception):
    """There is nothing to judge; the text says where was looked and what to do."""


@dataclass(frozen=True)
class TempoQuery:
    """Which traces to ask a Tempo server for; times are seconds since 1970."""

    url: str
    start_s: int
    end_s: int
    query: str = ""
    tenant: str = ""
    limit: int = 2_000


@dataclass(frozen=True)
class Sides:
    """Names and streams of the candidate and of what it is judged against."""

    candidate_name: str
    candidate: list[Stream]
    baseline_name: str | None = None
    baseline: list[Stream] | None = None
    notes: tuple[str, ...] = ()


def read(files: Sequence[Path], tempo: TempoQuery | None, wanted: Sequence[str]) -> Recording:
    """Read all sources together; raises SourceError."""
    recording = Recording(wanted)
    for path in files:
        read_file(path, recording)
    if tempo is not None:
        source = Tempo(tempo.url, tempo.start_s, tempo.end_s, tempo.query or DEFAULT_QUERY, tempo.tenant, tempo.limit)
        source.read(recording)
    return recording


def newest(folder: Path, count: int) -> list[Path]:
    """Return the recordings of a folder that were written last, the newest first.

    Raises:
        RecordingError: the folder has none.

    """
    found = [path for path in folder.iterdir() if path.is_file() and path.suffix in _SUFFIXES]
    if not found:
        message = f"{folder} has no recording ({', '.join(_SUFFIXES)}); save some into it with gate run --save {folder}"
        raise RecordingError(message)
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)[:count]


def wanted_by(configuration: Configuration, *conditions: Condition | None) -> list[str]:
    """Return the attributes that a recording must keep."""
    chosen = [*(table.where for table in configuration.tables), *conditions]
    return attributes_of(name for condition in chosen if condition is not None for name in condition.names)


def side(streams: Iterable[Stream], condition: Condition, name: str) -> list[Stream]:
    """Return one side's streams; raises RecordingError where there are none."""
    found = [stream for stream in streams if condition.holds(stream)]
    if not found:
        message = f"no stream of the {name}: {condition} finds none in the recording"
        raise RecordingError(message)
    return found
