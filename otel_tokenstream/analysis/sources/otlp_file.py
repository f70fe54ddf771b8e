"""A file of OTLP in JSON: one message, or one a line as the Collector's file exporter writes; also gzipped."""

from __future__ import annotations

import gzip
import json
from typing import IO, TYPE_CHECKING, cast

from otel_tokenstream.analysis.sources import SourceError
from otel_tokenstream.analysis.sources.otlp_json import NotOtlpError, add

if TYPE_CHECKING:
    from pathlib import Path

    from otel_tokenstream.analysis.recording import Recording

_GZIP = b"\x1f\x8b"
_WANTED = (
    "the report reads OTLP in JSON (the Collector's file exporter with format: json, without compression, or gzipped)"
)


def read(path: Path, recording: Recording) -> None:
    """Raises SourceError, which names the file and the line."""
    try:
        with _open(path) as file:
            _read(path, file, recording)
    except UnicodeDecodeError as error:
        message = f"{path}: not text; {_WANTED}"
        raise SourceError(message) from error
    except (OSError, EOFError) as error:
        message = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise SourceError(message) from error


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
    return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8")) if zipped else path.open(encoding="utf-8")


def _read(path: Path, file: IO[str], recording: Recording) -> None:
    number = 0
    for line in file:
        number += 1
        if not line.strip():
            continue
        try:
            add(json.loads(line), recording)
        except json.JSONDecodeError as error:
            if number == 1:  # one message over several lines
                _read_whole(path, line + file.read(), recording)
                return
            if not line.endswith("\n"):
                recording.notes.append(f"{path}: the last line is incomplete and was left out; is it still written to?")
                return
            message = f"{path}, line {number}, column {error.colno}: {error.msg}; {_WANTED}"
            raise SourceError(message) from error
        except (NotOtlpError, RecursionError) as error:
            message = f"{path}, line {number}: {error}; {_WANTED}"
            raise SourceError(message) from error


def _read_whole(path: Path, text: str, recording: Recording) -> None:
    try:
        add(json.loads(text), recording)
    except json.JSONDecodeError as error:
        message = f"{path}, line {error.lineno}, column {error.colno}: {error.msg}; {_WANTED}"
        raise SourceError(message) from error
    except (NotOtlpError, RecursionError) as error:
        message = f"{path}: {error}; {_WANTED}"
        raise SourceError(message) from error
