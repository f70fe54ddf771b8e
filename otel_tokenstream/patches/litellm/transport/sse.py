"""Server-sent events, or a JSON array, in the bytes that some entries hand to the caller."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from otel_tokenstream.patches.litellm.transport.json_stream import JsonArray

if TYPE_CHECKING:
    from collections.abc import Callable

_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4
_LONGEST = 1 << 20


class SentEvents:
    """Finds the JSON objects in a stream of bytes, however it is cut; takes ready objects too.

    ``made`` is what becomes of an object's fields, which are otherwise a dictionary.
    """

    def __init__(self, made: Callable[[dict[str, Any]], Any] | None = None) -> None:
        self._made = made
        self._rest = b""
        self._begun = False
        self._array: JsonArray | None = None

    def feed(self, chunk: Any) -> list[Any]:
        """Return the objects that are complete now."""
        if isinstance(chunk, str):
            chunk = chunk.encode()
        if not isinstance(chunk, (bytes, bytearray)):
            return [chunk]
        if not self._begun and chunk.strip():
            self._begun = True
            self._array = JsonArray(_LONGEST) if chunk.lstrip().startswith(b"[") else None
        written = self._events(chunk) if self._array is None else self._array.feed(bytes(chunk))
        return [found for each in written if (found := self._read(each)) is not None]

    def _events(self, chunk: bytes | bytearray) -> list[bytes]:
        """Return the data of the events that are complete now."""
        seen, rest = max(len(self._rest) - _LONGEST_END, 0), self._rest + chunk
        # No byte is searched twice: an event may be long, and come in very many pieces.
        *events, rest = _END.split(rest) if _END.search(rest, seen) else [rest]
        self._rest = rest if len(rest) <= _LONGEST else b""
        return [
            b"\n".join(line[5:].lstrip() for line in event.splitlines() if line.startswith(b"data:"))
            for event in events
        ]

    def _read(self, data: bytes) -> Any:
        try:
            return json.loads(data, object_hook=self._made)
        except ValueError:  # a comment, a bare event name, an end marker
            return None
