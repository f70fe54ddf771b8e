from __future__ import annotations

from itertools import groupby
from operator import itemgetter

Piece = tuple[str, str]


def joined(pieces: list[Piece]) -> list[Piece]:
    """The pieces with neighbours of one field made into one."""
    if len(pieces) < 2:
        return pieces
    return [(field, "".join(text for _, text in group)) for field, group in groupby(pieces, key=itemgetter(0))]


class Trimmer:
    """``str.strip`` for a text that comes in parts: whitespace waits until it is known not to be the end."""

    __slots__ = ("_space", "started")

    def __init__(self) -> None:
        self.started = False
        # A list, because a string that grows with every chunk is copied with every chunk.
        self._space: list[str] = []

    def add(self, text: str) -> str:
        """What is certain now of everything added so far."""
        body = text.rstrip()
        if not body:
            if self.started and text:
                self._space.append(text)
            return ""
        after = text[len(body) :]
        if not self.started:
            body = body.lstrip()
            self.started = True
        elif self._space:
            body = "".join(self._space) + body
            self._space.clear()
        if after:
            self._space.append(after)
        return body

    def drop_space(self) -> None:
        self._space.clear()

    def restart(self) -> None:
        self.started = False
        self._space.clear()
