"""AWS event streams (application/vnd.amazon.eventstream): binary frames with headers and a body of JSON."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.patches.litellm.transport.json_stream import JsonObject, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator


class StreamedEvent(NamedTuple):
    """``name`` says what ``fields`` are; of an error it is the error's own."""

    name: str
    fields: Any
    failed: bool


class EventStream:
    """Finds the events in a stream of bytes, however it is cut. Without botocore, which litellm needs too, none."""

    def __init__(self) -> None:
        self._frames: Any = _frames()

    def feed(self, chunk: Any) -> list[StreamedEvent]:
        """Return the events that are complete now; none any more after bytes that are no frame."""
        if self._frames is None or not isinstance(chunk, (bytes, bytearray)):
            return []
        found: list[StreamedEvent] = []
        try:
            self._frames.add_data(bytes(chunk))
            found.extend(_events(self._frames))
        except Exception:  # noqa: BLE001  # botocore has a class for each way in which bytes are no frame
            self._frames = None
        return found


def _frames() -> Any:
    try:
        return importlib.import_module("botocore.eventstream").EventStreamBuffer()
    except ImportError:
        return None


def _events(frames: Any) -> Iterator[StreamedEvent]:
    for frame in frames:
        headers = frame.headers
        name = headers.get(":exception-type") or headers.get(":error-code")
        failed = name is not None or headers.get(":message-type") in ("exception", "error")
        fields = parsed(frame.payload)
        yield StreamedEvent(
            str(name or headers.get(":event-type") or ""),
            fields if isinstance(fields, JsonObject) else JsonObject(),
            failed,
        )
