"""Text for a terminal or a pipe: how wide it is, and how to write it where not every letter or no reader is left."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def columns(text: str) -> int:
    """Return how many columns it takes in a terminal: wide letters two, combining marks none."""
    return sum(0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF") for each in text)


def shortened(text: str, width: int) -> str:
    """Return as much of the text as fits into ``width`` columns."""
    room = width
    for at, each in enumerate(text):
        room -= columns(each)
        if room < 0:
            return text[:at]
    return text


def write(text: str, out: TextIO) -> bool:
    """Write the text at once, with question marks for letters that ``out`` cannot encode.

    Return False where nobody reads it any longer, as behind ``head``.
    """
    try:
        try:
            out.write(text)
        except UnicodeEncodeError:
            encoding = out.encoding or "ascii"
            out.write(text.encode(encoding, "replace").decode(encoding))
        out.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # Python writes at its end what is left, and would fail again
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)
        return False
    return True
