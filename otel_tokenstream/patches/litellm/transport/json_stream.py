"""JSON of providers: as the libraries' own classes have it, and an array that comes in pieces."""

from __future__ import annotations

import json
import re
from typing import Any

# A backslash hides what follows it; outside of strings there is none.
_MARK = re.compile(rb'\\.|["{}]', re.DOTALL)


class JsonArray:
    """Cuts out each object as soon as it is whole; one longer than ``longest`` bytes is lost, no other."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest = b""
        self._looked_at = 0  # of the rest
        self._depth = 0
        self._quoted = self._lost = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the objects that are whole now."""
        rest, start, found = self._rest + piece, 0, []
        end = self._looked_at
        for mark in _MARK.finditer(rest, self._looked_at):
            sign, end = mark[0], mark.end()
            if sign == b'"':
                self._quoted = not self._quoted
            elif self._quoted or sign.startswith(b"\\"):
                continue
            elif sign == b"{":
                start = mark.start() if self._depth == 0 else start
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth == 0 and not self._lost:
                    found.append(rest[start:end])
                self._lost = self._lost and self._depth > 0
        split = end < len(rest) and rest.endswith(b"\\")  # from what it hides
        if self._depth == 0:
            start = len(rest) - split
        elif self._lost or len(rest) - start > self._longest:
            self._lost, start = True, len(rest) - split
        self._rest = rest[start:]
        self._looked_at = len(self._rest) - split
        return found


class JsonObject(dict[str, Any]):
    """A JSON object whose fields are attributes too, None where it has none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.get(name)


def parsed(body: object) -> Any:
    """Return a body of JSON, None where it is none."""
    try:
        return json.loads(body, object_hook=JsonObject) if isinstance(body, bytes) else None
    except ValueError:
        return None
