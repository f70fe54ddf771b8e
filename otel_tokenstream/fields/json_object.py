from __future__ import annotations

import re
from typing import TYPE_CHECKING

from otel_tokenstream.fields.pieces import Piece, Trimmer, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SPACE = re.compile(r"\s*")
_SPACE_OR_COMMA = re.compile(r"[\s,]*")
_KEY_END = re.compile(r"[:,{}]")
_SCALAR_END = re.compile(r"[,}]")
_VALUE_END = re.compile(r"[,}\"']")
_BRACKETS = re.compile(r'["{}\[\]]')
_STRING_MARKS = {quote: re.compile(rf"[{quote}\\]") for quote in "\"'"}
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_UNICODE_SO_FAR = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?")
_LOW_SURROGATE = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LOW_SURROGATE_SO_FAR = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")
_LONGEST_GAP = 256  # characters of whitespace after a quote; then it ends its string, whatever follows
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\", '"': '"', "'": "'"}


class JSONObjectParser:
    """The object of JSONAdapter: strings unescaped, other values as the JSON text they are.

    The first object with one of the fields counts; prose, fences and other objects around it do not.
    Of a repeated key the first value counts, although the adapter takes the last: what has streamed
    cannot be taken back. Of what json_repair mends, these come out the same: line breaks in strings,
    unknown escapes, single quotes, bare keys and values, missing or surplus commas, quotes within a
    string that no comma follows, an answer that breaks off (whose last whitespace stays, though).
    """

    __slots__ = (
        "_depth",
        "_fields",
        "_found",
        "_held",
        "_in_key",
        "_key",
        "_longest",
        "_marks",
        "_pieces",
        "_plain",
        "_quote",
        "_seen",
        "_step",
        "_text",
        "_value_of",
        "field",
    )

    def __init__(self, fields: Sequence[str]) -> None:
        self.field: str | None = None
        self._fields = frozenset(fields)
        self._longest = max(map(len, fields), default=0)
        self._seen: set[str] = set()
        self._found = False  # the object at hand has a field of ours
        self._pieces: list[Piece] = []
        self._held = ""  # an escape or a quote whose meaning the next characters decide
        self._key = ""
        self._in_key = False
        self._quote = '"'
        self._value_of: str | None = None
        self._text = Trimmer()  # for bare values
        self._depth = 0
        self._marks = _BRACKETS  # or those of a string, when inside one of a nested value
        self._plain = False  # inside a string, only its quote or a backslash could mean something
        # Plain functions: a bound method would make every parser wait for the cyclic collector.
        self._step: Callable[[JSONObjectParser, str, int], int] = JSONObjectParser._seek

    def feed(self, text: str) -> list[Piece]:
        if self._plain and self._quote not in text and "\\" not in text:
            return [(self.field, text)] if text and self.field is not None else []
        if not text:
            return []
        data = self._held + text
        self._held = ""
        position = 0
        while position < len(data):
            position = self._step(self, data, position)
        self._plain = self._step is JSONObjectParser._string and not self._in_key and not self._held
        pieces, self._pieces = self._pieces, []
        return joined(pieces)

    def finish(self) -> list[Piece]:
        if self._step is not JSONObjectParser._string_end:
            rest = self._held
            if lone := _UNICODE.match(rest):
                rest = chr(int(lone[1], 16)) + rest[lone.end() :]
            self._emit(rest)
        self._held = ""
        pieces, self._pieces = self._pieces, []
        return joined(pieces)

    def _emit(self, text: str) -> None:
        if text and self._value_of is not None:
            self._pieces.append((self._value_of, text))

    # Each step reads from a position on and returns where the next one goes on.

    def _seek(self, data: str, position: int) -> int:
        brace = -1 if self._found else data.find("{", position)
        if brace < 0:
            return len(data)
        self._step = JSONObjectParser._before_key
        return brace + 1

    def _before_key(self, data: str, position: int) -> int:
        position = _past(_SPACE_OR_COMMA, data, position)
        if position == len(data):
            return position
        self._key = ""
        character = data[position]
        if character in "\"'":
            self._open_string(character, in_key=True)
        elif character == "}":
            self._step = JSONObjectParser._seek
        elif character != "{":
            self._text.restart()
            self._step = JSONObjectParser._bare_key
            return position
        return position + 1

    def _bare_key(self, data: str, position: int) -> int:
        end = _KEY_END.search(data, position)
        stop = end.start() if end else len(data)
        self._add_to_key(self._text.add(data[position:stop]))
        if end:
            self._step = JSONObjectParser._after_key
        return stop

    def _after_key(self, data: str, position: int) -> int:
        end = _KEY_END.search(data, position)
        if end is None:
            return len(data)
        if end[0] != ":":
            self._step = JSONObjectParser._before_key
            return end.start()
        known = self._key in self._fields
        self._value_of = self._key if known and self._key not in self._seen else None
        if known:
            self._found = True
            self._seen.add(self._key)
        self._step = JSONObjectParser._before_value
        return end.end()

    def _add_to_key(self, text: str) -> None:
        # Longer than the longest field is a stranger, whatever follows.
        if len(self._key) <= self._longest:
            self._key = (self._key + text)[: self._longest + 1]

    def _before_value(self, data: str, position: int) -> int:
        position = _past(_SPACE, data, position)
        if position == len(data):
            return position
        character = data[position]
        if character in ",}":
            self._step = JSONObjectParser._after_value
            return position
        self.field = self._value_of
        if character in "\"'":
            self._open_string(character, in_key=False)
            return position + 1
        if character in "{[":
            self._depth = 0
            self._marks = _BRACKETS
            self._step = JSONObjectParser._nested
        else:
            self._text.restart()
            self._step = JSONObjectParser._scalar
        return position

    def _after_value(self, data: str, position: int) -> int:
        self.field = self._value_of = None
        end = _VALUE_END.search(data, position)
        if end is None:
            return len(data)
        self._step = JSONObjectParser._before_key
        return end.start()

    def _scalar(self, data: str, position: int) -> int:
        end = _SCALAR_END.search(data, position)
        stop = end.start() if end else len(data)
        self._emit(self._text.add(data[position:stop]))
        if end:
            self._step = JSONObjectParser._after_value
        return stop

    def _nested(self, data: str, position: int) -> int:
        marks = self._marks
        stop = position
        while mark := marks.search(data, stop):
            character, stop = mark[0], mark.end()
            if character == '"':
                marks = _BRACKETS if marks is _STRING_MARKS['"'] else _STRING_MARKS['"']
            elif character == "\\":
                if stop == len(data):
                    self._held = character
                    break
                stop += 1
            elif character in "{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._emit(data[position:stop])
                    self.field = None
                    self._step = JSONObjectParser._after_value
                    return stop
        self._marks = marks
        self._emit(data[position : -1 if self._held else None])
        return len(data)

    def _open_string(self, quote: str, *, in_key: bool) -> None:
        self._quote = quote
        self._in_key = in_key
        self._step = JSONObjectParser._string

    def _string(self, data: str, position: int) -> int:
        mark = _STRING_MARKS[self._quote].search(data, position)
        stop = mark.start() if mark else len(data)
        self._add_to_string(data[position:stop])
        if mark is None:
            return stop
        if mark[0] == "\\":
            return self._escape(data, stop)
        if self._in_key:
            self._in_key = False
            self._step = JSONObjectParser._after_key
        else:
            self.field = None
            self._step = JSONObjectParser._string_end
            return stop
        return stop + 1

    def _add_to_string(self, text: str) -> None:
        if self._in_key:
            self._add_to_key(text)
        else:
            self._emit(text)

    def _string_end(self, data: str, quote: int) -> int:
        """At a quote: an unescaped one within the text, unless what follows can follow a value."""
        after = _past(_SPACE, data, quote + 1)
        gap = after - quote - 1
        if gap < _LONGEST_GAP:
            if after == len(data):
                self._held = data[quote:]
                return after
            if data[after] not in ",}" and not (gap and data[after] in "\"'"):
                self.field = self._value_of
                self._emit(data[quote:after])
                self._step = JSONObjectParser._string
                return after
        self._step = JSONObjectParser._after_value
        return after

    def _escape(self, data: str, start: int) -> int:
        unicode = _UNICODE.match(data, start)
        if unicode is None:
            if _UNICODE_SO_FAR.fullmatch(data, start):
                self._held = data[start:]
                return len(data)
            self._add_to_string(_ESCAPED.get(data[start + 1], data[start : start + 2]))
            return start + 2
        code, end = int(unicode[1], 16), unicode.end()
        if 0xD800 <= code < 0xDC00:
            if low := _LOW_SURROGATE.match(data, end):
                code, end = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00, low.end()
            elif _LOW_SURROGATE_SO_FAR.fullmatch(data, end):
                self._held = data[start:]
                return len(data)
        self._add_to_string(chr(code))
        return end


def _past(pattern: re.Pattern[str], data: str, position: int) -> int:
    """Where what the pattern matches ends; it may match nothing."""
    match = pattern.match(data, position)
    return match.end() if match else position
