from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otel_tokenstream.fields.pieces import Piece, Trimmer, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

# Longer names are none, which bounds what is held back.
_OPENING = re.compile(r"<(\w{1,255})>")
_OPENING_SO_FAR = re.compile(r"<\w{0,255}")


class XMLTagParser:
    """Tags of XMLAdapter before DSPy 3.4: raw text from ``<name>`` to the first ``</name>``, stripped.

    The first occurrence of a field counts. Any other tag hides what it encloses, as in the adapter; one that is
    never closed the adapter passes over, while here it hides the rest: the end is not known in time.
    """

    __slots__ = ("_closing", "_held", "_plain", "_text", "_unseen", "field")

    def __init__(self, fields: Sequence[str]) -> None:
        self.field: str | None = None
        self._unseen = set(fields)
        self._closing = ""  # what ends the open tag
        self._held = ""
        self._text = Trimmer()
        self._plain = True

    def feed(self, text: str) -> list[Piece]:
        if self._plain and "<" not in text:
            if self.field is None:
                return []
            certain = self._text.add(text)
            return [(self.field, certain)] if certain else []
        data = self._held + text
        self._held = ""
        pieces: list[Piece] = []
        position = 0
        while position < len(data):
            position = self._inside(data, position, pieces) if self._closing else self._outside(data, position)
        self._plain = not self._held
        return joined(pieces)

    def finish(self) -> list[Piece]:
        pieces: list[Piece] = []
        self._add(self._held, pieces)
        self._held = ""
        self._text.drop_space()
        return pieces

    def _outside(self, data: str, position: int) -> int:
        opening = _OPENING.search(data, position)
        if opening is None:
            last = data.rfind("<", position)
            if last >= 0 and _OPENING_SO_FAR.fullmatch(data, last):
                self._held = data[last:]
            return len(data)
        name = opening[1]
        self._closing = f"</{name}>"
        self._text.restart()
        self.field = name if name in self._unseen else None
        self._unseen.discard(name)
        return opening.end()

    def _inside(self, data: str, position: int, pieces: list[Piece]) -> int:
        closing = data.find(self._closing, position)
        if closing >= 0:
            self._add(data[position:closing], pieces)
            position = closing + len(self._closing)
            self._closing = ""
            self.field = None
            return position
        last = data.rfind("<", max(position, len(data) - len(self._closing)))
        end = last if last >= 0 and self._closing.startswith(data[last:]) else len(data)
        self._add(data[position:end], pieces)
        self._held = data[end:]
        return len(data)

    def _add(self, text: str, pieces: list[Piece]) -> None:
        if self.field is not None and (certain := self._text.add(text)):
            pieces.append((self.field, certain))
