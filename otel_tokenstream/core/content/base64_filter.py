"""Base64 in text that comes in pieces: elided as in whole texts, but for a beginning that has left already."""

from __future__ import annotations

from string import ascii_letters, digits

from otel_tokenstream.core.runtime.sanitize import decoded_size, without_base64

_DATA = ascii_letters + digits + "+/_-="
_LINES = _DATA + "\r\n"
_MARK = ";base64,"
# From this length on a word may become data, and waits for its end.
_LONGEST_WORD = 32
_TAIL = 128  # characters a data URL may have before its data
_SHORTEST_DATA = 60
_MOST_HELD = 1 << 16


class Base64Filter:
    """Lets text through piece by piece; a word that may be data is withheld until it ends."""

    __slots__ = ("_alphabet", "_counted", "_held", "_size", "_tail")

    def __init__(self) -> None:
        self._tail = ""  # the end of what left
        self._alphabet = ""  # of the word that is withheld, empty where none is
        self._held: list[str] = []
        self._size = 0
        self._counted = 0  # characters of data that are not even held

    def feed(self, text: str) -> str:
        if not self._alphabet:
            return self._pass(text)
        rest = text.lstrip(self._alphabet)
        self._hold(text[: len(text) - len(rest)])
        return self._pass(self._ended() + rest) if rest else self._bounded()

    def close(self) -> str:
        """Return what was withheld, of which no more will come."""
        return self._released(self._ended())

    def _pass(self, text: str) -> str:
        """Release a text but for its last word, if that may be data."""
        seen = self._tail + text
        start = len(seen.rstrip(_LINES))
        if seen.endswith(_MARK, 0, start):
            self._alphabet = _LINES
        else:
            start = len(seen.rstrip(_DATA))
            if len(seen) - start > _LONGEST_WORD:
                self._alphabet = _DATA
        if not self._alphabet:
            return self._released(text)
        start = max(start - len(self._tail), 0)
        self._hold(text[start:])
        return self._released(text[:start]) + self._bounded()

    def _hold(self, text: str) -> None:
        self._held.append(text)
        self._size += len(text)

    def _taken(self) -> str:
        held = "".join(self._held)
        self._held, self._size = [], 0
        return held

    def _ended(self) -> str:
        """Return the word that was withheld; one too long to be held is data, and its size stands for it."""
        self._alphabet, counted, self._counted = "", self._counted, 0
        return _mark((counted + len(self._taken())) * 3 // 4) if counted else self._taken()

    def _bounded(self) -> str:
        """Keep no more than the size of very much data, and release what is very long and no data."""
        if self._size <= _MOST_HELD:
            return ""
        held = self._taken()
        if self._counted or self._elided(held) != held:
            self._counted += len(held)
            return ""
        return self._released(held)

    def _released(self, text: str) -> str:
        if not text:
            return text
        released = self._elided(text)
        self._tail = (self._tail + released)[-_TAIL:]
        return released

    def _elided(self, text: str) -> str:
        if len(text) < _SHORTEST_DATA:
            return text
        whole = without_base64(self._tail + text)
        if whole.startswith(self._tail):
            return whole[len(self._tail) :]
        rest = text.lstrip(_DATA)  # it is data that began in what has left
        return _mark(decoded_size(text[: len(text) - len(rest)])) + without_base64(rest)


def _mark(size: int) -> str:
    return f"[base64: {size} bytes]"
