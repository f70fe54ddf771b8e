"""The report's page over the streams that a gate has judged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from otel_tokenstream.analysis import page
from otel_tokenstream.analysis.comparison import compared
from otel_tokenstream.analysis.groups import group_of, grouped
from otel_tokenstream.analysis.over_time import AUTO, over_time, utc
from otel_tokenstream.analysis.report import VERSION, Report

if TYPE_CHECKING:
    from otel_tokenstream.gate.recordings import Sides

_BY = ["operation", "model"]


def as_html(sides: Sides) -> str:
    """Return the page, with the comparison where there is a baseline; it needs no network."""
    baseline = sides.baseline or []
    streams = sorted([*baseline, *sides.candidate], key=lambda stream: (stream.start_ns, stream.span_id))
    over, note = over_time(streams, AUTO)
    names = (sides.baseline_name or "baseline", sides.candidate_name)
    return page.as_html(
        Report(
            version=VERSION,
            made=utc(time.time_ns()),
            sources=[name for name in (sides.baseline_name, sides.candidate_name) if name],
            where=[],
            by=_BY,
            start=utc(streams[0].start_ns),
            end=utc(max(stream.end_ns for stream in streams)),
            total=group_of({}, streams),
            groups=grouped(streams, _BY),
            in_time=[],
            over_time=over,
            comparison=compared(names, baseline, sides.candidate) if baseline else None,
            notes=[*sides.notes, *([note] if note else [])],
        )
    )
