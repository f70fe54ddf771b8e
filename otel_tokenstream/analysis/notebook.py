"""Recorded streams in Python and in notebooks: a list that shows itself, and a data frame of pandas."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

from otel_tokenstream.analysis.measures import MEASURES
from otel_tokenstream.analysis.recording import Recording
from otel_tokenstream.analysis.selection import Condition, attributes_of
from otel_tokenstream.analysis.sources.files import read_file
from otel_tokenstream.analysis.sources.viewer_database import default_path
from otel_tokenstream.analysis.units import shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from otel_tokenstream.analysis.stream import Stream

_SHOWN = 50
_NAMES = ("service", "operation", "provider", "model", "outcome", "error_type")
_IN_LISTS = ("first_token_ms", "duration_ms", "gap_p50_ms", "gap_max_ms", "stall_total_ms", "output_tokens", "cost_usd")


def load(*files: Path, where: str = "", attributes: Iterable[str] = ()) -> Streams:
    """Read viewer databases and files of OTLP in JSON; without one, the viewer's own database.

    ``where`` holds conditions as the report's ``--where`` does; ``attributes`` names attributes to keep of each
    stream. Raises SourceError, and ValueError for wrong conditions.
    """
    conditions = [Condition.parse(where)] if where else []
    names = [*attributes, *(name for condition in conditions for name in condition.names)]
    recording = Recording(attributes_of(names))
    for path in files or (default_path(),):
        read_file(path, recording)
    found = (stream for stream in recording.streams() if all(each.holds(stream) for each in conditions))
    return Streams(sorted(found, key=lambda stream: stream.start_ns))


class Streams(Sequence["Stream"]):
    """Streams in the order of their starts. In a notebook they are a table, of the newest first."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._streams = tuple(streams)

    def __len__(self) -> int:
        return len(self._streams)

    @overload
    def __getitem__(self, index: int) -> Stream: ...

    @overload
    def __getitem__(self, index: slice) -> Streams: ...

    def __getitem__(self, index: int | slice) -> Stream | Streams:
        return Streams(self._streams[index]) if isinstance(index, slice) else self._streams[index]

    def frame(self) -> Any:
        """A pandas data frame with a row a stream: ids, names, the start in UTC and every measure.

        What was not measured is NaN. Raises ModuleNotFoundError without pandas.
        """
        try:
            pandas = import_module("pandas")
        except ModuleNotFoundError as error:
            message = "data frames need pandas: pip install 'otel-tokenstream[notebook]'"
            raise ModuleNotFoundError(message, name=error.name) from error
        rows = [_row(stream) for stream in self._streams]
        columns = ["trace_id", "span_id", "start", *_NAMES, *MEASURES]
        names = dict.fromkeys(name for stream in self._streams for name in stream.attributes)
        frame = pandas.DataFrame(rows, columns=[*columns, *names])
        frame["start"] = pandas.to_datetime(frame["start"], utc=True, unit="ns")
        return frame

    def _repr_html_(self) -> str:
        newest = self._streams[::-1][:_SHOWN]
        heads = [*_NAMES, *(MEASURES[name].title for name in _IN_LISTS)]
        rows = [
            [*(getattr(stream, name) or "" for name in _NAMES), *(_measured(stream, name) for name in _IN_LISTS)]
            for stream in newest
        ]
        rest = f"<p>{len(self):,} streams, of which the newest {_SHOWN} are shown</p>" if len(self) > _SHOWN else ""
        return _table([heads, *rows]) + rest


def stream_html(stream: Stream) -> str:
    """One stream as a table of its figures."""
    names = [(name, getattr(stream, name) or "") for name in ("trace_id", "span_id", *_NAMES)]
    figures = [(measure.title, shown(measure.of(stream), measure.unit)) for measure in MEASURES.values()]
    return _table([["stream", ""], *map(list, (*names, *figures))])


def _row(stream: Stream) -> dict[str, Any]:
    return {
        "trace_id": stream.trace_id,
        "span_id": stream.span_id,
        "start": stream.start_ns,
        **{name: getattr(stream, name) for name in _NAMES},
        **{name: measure.of(stream) for name, measure in MEASURES.items()},
        **stream.attributes,
    }


def _measured(stream: Stream, name: str) -> str:
    return shown(MEASURES[name].of(stream), MEASURES[name].unit)


def _table(rows: list[list[str]]) -> str:
    """Escaped: names of models and errors come from outside."""
    head, *body = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    head = head.replace("<td>", "<th>").replace("</td>", "</th>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in body)}</tbody></table>"
