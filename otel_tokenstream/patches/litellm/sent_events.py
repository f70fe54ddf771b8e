"""Server-sent events in the bytes that some entries hand to the caller."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_END = re.compile(rb"\r?\n\r?\n")
_LONGEST = 1 << 20


class SentEvents:
    """Finds the JSON objects in a stream of bytes, however it is cut; takes ready objects too.

    ``made`` is what becomes of an object's fields, which are otherwise a dictionary.
    """

    def __init__(self, made: Callable[[dict[str, Any]], Any] | None = None) -> None:
        self._made = made
        self._rest = b""

    def feed(self, chunk: Any) -> list[Any]:
        """Return the objects that are complete now."""
        if isinstance(chunk, str):
            chunk = chunk.encode()
        if not isinstance(chunk, (bytes, bytearray)):
            return [chunk]
        *events, rest = _END.split(self._rest + chunk)
        self._rest = rest if len(rest) <= _LONGEST else b""
        return [found for event in events if (found := _data(event, self._made)) is not None]


def _data(event: bytes, made: Callable[[dict[str, Any]], Any] | None) -> Any:
    data = b"\n".join(line[5:].lstrip() for line in event.splitlines() if line.startswith(b"data:"))
    try:
        return json.loads(data, object_hook=made)
    except ValueError:  # a comment, a bare event name, an end marker
        return None
