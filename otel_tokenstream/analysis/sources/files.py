"""A recording in a file, whatever of the kinds it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tokenstream.analysis.sources import SourceError, otlp_file, viewer_database

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.analysis.recording import Recording


def read_file(path: Path, recording: Recording) -> None:
    """Add a viewer's database, or OTLP in JSON, to a recording; raises SourceError."""
    try:
        with path.open("rb") as file:
            is_database = file.read(len(viewer_database.MAGIC)) == viewer_database.MAGIC
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise SourceError(message) from error
    (viewer_database.read if is_database else otlp_file.read)(path, recording)
