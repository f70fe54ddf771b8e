from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otel_tokenstream.fields.pieces import Piece, Trimmer, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPENING, _CLOSING = "[[ ## ", " ## ]]"
# The adapter knows no longest name; the bound is one of what is held back.
_HEADER = re.compile(r"\[\[ ## (\w{1,255}) ## \]\]")
_NAME_SO_FAR = re.compile(r"\[\[ ## \w{1,255}")
_SPACE = re.compile(r"\s*")
# The line ends of str.splitlines, which the adapter uses.
_LINE_END = re.compile("[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")


class ChatParser:
    r"""Sections of ChatAdapter: ``[[ ## field ## ]]`` at the start of a line opens one, the next header ends it.

    As in the adapter: the first section of a field counts, later ones and unknown names (``completed``
    among them) belong to no field; each section is stripped; every kind of line break becomes ``\n``;
    text may follow the header on its line, without the whitespace at the end of that line.
    """

    __slots__ = (
        "_after_cr",
        "_candidate",
        "_indent",
        "_on_header_line",
        "_on_line_start",
        "_plain",
        "_section",
        "_text",
        "_unseen",
        "field",
    )

    def __init__(self, fields: Sequence[str]) -> None:
        self.field: str | None = None
        self._unseen = set(fields)
        self._section: str | None = None
        self._text = Trimmer()
        self._candidate = ""  # what may become a header
        self._indent = 0  # whitespace before the first character of the line
        self._on_line_start = True
        self._on_header_line = False
        self._after_cr = False
        self._plain = False  # only a line break could mean something

    def feed(self, text: str) -> list[Piece]:
        # No line break is printable.
        if not (self._plain and text.isprintable()):
            return self._scan(text) if text else []
        if self.field is None:
            return []
        certain = self._text.add(text)
        return [(self.field, certain)] if certain else []

    def finish(self) -> list[Piece]:
        pieces: list[Piece] = []
        self._content(self._candidate, pieces)
        self._candidate = ""
        self._text.drop_space()
        return joined(pieces)

    def _scan(self, text: str) -> list[Piece]:
        data = self._candidate + text
        self._candidate = ""
        pieces: list[Piece] = []
        position = 1 if self._after_cr and data.startswith("\n") else 0
        self._after_cr = data.endswith("\r")
        while position < len(data):
            if self._on_line_start:
                position = self._line_start(data, position, pieces)
                continue
            line_end = _LINE_END.search(data, position)
            end = line_end.start() if line_end else len(data)
            self._content(data[position:end], pieces)
            if line_end:
                if self._on_header_line:
                    self._text.drop_space()
                    self._on_header_line = False
                self._on_line_start = True
                self._indent = 0
            position = end
        self.field = None if self._candidate else self._section
        self._plain = not self._on_line_start and (self._section is None or self._text.started)
        return joined(pieces)

    def _line_start(self, data: str, position: int, pieces: list[Piece]) -> int:
        """Read whitespace, line breaks among it, and a header if one follows."""
        space = _SPACE.match(data, position)
        start = space.end() if space else position
        if start > position:
            lines = _LINE_BREAK.split(data[position:start])
            self._indent = len(lines[-1]) + (self._indent if len(lines) == 1 else 0)
            self._content("\n".join(lines), pieces)
        if start == len(data):
            return start
        if header := _HEADER.match(data, start):
            self._open(header, pieces)
            return header.end()
        if _may_become_header(data, start):
            self._candidate = data[start:]
            return len(data)
        self._on_line_start = False
        return start

    def _open(self, header: re.Match[str], pieces: list[Piece]) -> None:
        name = header[1]
        self._section = name if name in self._unseen else None
        self._unseen.discard(name)
        self._text.restart()
        self._on_header_line = True
        self._on_line_start = False
        if self._indent:
            # The adapter measures the header on the stripped line and cuts it off the indented one,
            # so that the header's last characters stay in the field, as many as the indent has.
            self._content(header[0][-self._indent :], pieces)

    def _content(self, text: str, pieces: list[Piece]) -> None:
        if self._section is not None and (certain := self._text.add(text)):
            pieces.append((self._section, certain))


def _may_become_header(data: str, start: int) -> bool:
    name = _NAME_SO_FAR.match(data, start)
    if name is None:
        return _OPENING.startswith(data[start : start + len(_OPENING) + 1])
    return _CLOSING.startswith(data[name.end() : name.end() + len(_CLOSING) + 1])
