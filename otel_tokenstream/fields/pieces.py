from __future__ import annotations

from itertools import groupby
from operator import itemgetter

Piece = tuple[str, str]


def joined(pieces: list[Piece]) -> list[Piece]:
    """The pieces with neighbours of one field made into one."""
    if len(pieces) < 2:
        return pieces
    return [(field, "".join(text for _, text in group)) for field, group in groupby(pieces, key=itemgetter(0))]


LONGEST_SPACE = 4096  # characters


class Trimmer:
    """``str.strip`` for a text that comes in parts: whitespace waits until it is known not to be the end.

    Every full ``LONGEST_SPACE`` of it counts as text without waiting, which bounds what a model
    can pile up that has lost its way.
    """

    __slots__ = ("_space", "started")

    def __init__(self) -> None:
        self.started = False
        self._space = ""

    def add(self, text: str) -> str:
        """Return the text that is certain now."""
        body = text.rstrip()
        if body:
            after = text[len(body) :]
            if not self.started:
                body = body.lstrip()
                self.started = True
            elif self._space:
                body = self._space + body
            self._space = after
        elif self.started:
            self._space += text
        if len(self._space) >= LONGEST_SPACE:
            cut = len(self._space) // LONGEST_SPACE * LONGEST_SPACE
            body += self._space[:cut]
            self._space = self._space[cut:]
        return body

    def drop_space(self) -> None:
        self._space = ""

    def restart(self) -> None:
        self.started = False
        self._space = ""
