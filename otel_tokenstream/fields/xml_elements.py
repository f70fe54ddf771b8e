from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from otel_tokenstream.fields.pieces import Piece, Trimmer, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Bounds of what is held back; a tag beyond them is text.
_LONGEST_TAG = 8192
_S = "[ \t\r\n]"
_GAP = _S + "{0,64}"
_NAME = "[A-Za-z_:\x80-\U0010ffff][-.0-9A-Za-z_:\x80-\U0010ffff]{0,255}"
_ATTRIBUTE = rf"""{_S}{_GAP}{_NAME}{_GAP}={_GAP}(?:"[^"<]*"|'[^'<]*')"""
_TAG = re.compile(rf"<(/?)({_NAME})((?:{_ATTRIBUTE}){{0,32}}){_GAP}(/?)>")
_TAG_SO_FAR = re.compile(
    rf"""</?(?:{_NAME}(?:{_ATTRIBUTE}){{0,32}}(?:{_S}{_GAP}(?:{_NAME}{_GAP}(?:={_GAP}(?:(")[^"<]*|(')[^'<]*)?)?)?)?/?)?"""
)
_NAME_AND_VALUE = re.compile(rf"""({_NAME}){_S}*={_S}*(?:"([^"]*)"|'([^']*)')""")
_REFERENCE = re.compile(r"&(?:#([0-9]{1,16})|#x([0-9a-fA-F]{1,16})|(amp|lt|gt|quot|apos));")
_REFERENCE_SO_FAR = re.compile(r"&(?:#[0-9]{0,16}|#x[0-9a-fA-F]{0,16}|am?p?|ap?o?s?|lt?|gt?|qu?o?t?)?")
_LONGEST_REFERENCE = 20
_LINE_BREAK = re.compile("\r\n?")
_ATTRIBUTE_SPACE = re.compile("\r\n|[\r\n\t]")
_ATTRIBUTE_ESCAPES = {'"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}
_PREDEFINED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_NOT_A_TAG = ("", "!", "?")  # after "<"


class XMLElementParser:
    """Elements of XMLAdapter since DSPy 3.4: ``<field>...</field>``, not inside another element.

    References and CDATA are resolved, comments and processing instructions left out, the ends stripped.
    Elements within a field are written the way ElementTree writes them (but with prefixes as they came);
    such a field the adapter does not strip, this parser does. Every element of a field counts, the adapter
    makes a list of them. The adapter refuses what is not well-formed; here such markup is text.
    """

    __slots__ = (
        "_awaited",
        "_child_open",
        "_depth",
        "_fields",
        "_has_children",
        "_held",
        "_pieces",
        "_plain",
        "_step",
        "_text",
        "_top",
        "field",
    )

    def __init__(self, fields: Sequence[str]) -> None:
        self.field: str | None = None
        self._fields = frozenset(fields)
        self._pieces: list[Piece] = []
        self._held = ""  # what may become a tag, a reference or the end of a section
        self._awaited = ""  # the quote that ends the attribute value in which the held tag breaks off
        self._text = Trimmer()
        self._top: str | None = None  # name of the outermost open element
        self._depth = 0  # open elements of that name: the only ones whose end matters
        self._has_children = False
        self._child_open = False  # a start tag was written without its ">", in case the element is empty
        self._plain = False
        # Plain functions: a bound method would make every parser wait for the cyclic collector.
        self._step: Callable[[XMLElementParser, str, int], int] = XMLElementParser._content

    def feed(self, text: str) -> list[Piece]:
        if self._plain and "<" not in text and "&" not in text and "\r" not in text:
            if self.field is None:
                return []
            certain = self._text.add(text)
            return [(self.field, certain)] if certain else []
        if self._awaited and not (self._awaited in text or "<" in text) and len(self._held) + len(text) < _LONGEST_TAG:
            self._held += text
            return []
        data = self._held + text
        self._held = self._awaited = ""
        position = 0
        while position < len(data):
            position = self._step(self, data, position)
        self._plain = self._step is XMLElementParser._content and not self._held and not self._has_children
        pieces, self._pieces = self._pieces, []
        return joined(pieces)

    def finish(self) -> list[Piece]:
        if self._step in (XMLElementParser._content, XMLElementParser._cdata):
            self._add(_LINE_BREAK.sub("\n", self._held))
        self._close_start_tag()
        self._held = ""
        self._text.drop_space()
        pieces, self._pieces = self._pieces, []
        return joined(pieces)

    def _add(self, text: str) -> None:
        """Resolved text of the field at hand."""
        if self.field is None or not text:
            return
        if self._has_children:
            self._close_start_tag()
            if not text.isalnum():
                text = escape(text)
        self._write(text)

    def _write(self, text: str) -> None:
        if self.field is not None and (certain := self._text.add(text)):
            self._pieces.append((self.field, certain))

    def _close_start_tag(self) -> None:
        if self._child_open:
            self._child_open = False
            self._write(">")

    # Each step reads from a position on and returns where the next one goes on.

    def _content(self, data: str, position: int) -> int:
        mark = data.find("<", position)
        if mark > position or mark < 0:
            return self._character_data(data, position, mark)
        if data[mark + 1 : mark + 2] in _NOT_A_TAG:
            return self._section(data, mark)
        tag = _TAG.match(data, mark)
        if tag and tag.end() - mark <= _LONGEST_TAG:
            self._tag(tag)
            return tag.end()
        so_far = _TAG_SO_FAR.fullmatch(data, mark) if len(data) - mark < _LONGEST_TAG else None
        if so_far:
            self._held = data[mark:]
            self._awaited = so_far[1] or so_far[2] or ""
            return len(data)
        self._add("<")
        return mark + 1

    def _section(self, data: str, mark: int) -> int:
        for opening, step in self._SECTIONS:
            if data.startswith(opening, mark):
                self._step = step
                return mark + len(opening)
            if opening.startswith(data[mark : mark + len(opening)]):
                self._held = data[mark:]
                return len(data)
        self._add("<")
        return mark + 1

    def _character_data(self, data: str, position: int, stop: int) -> int:
        """Text up to the next tag, or with ``stop`` -1 up to what the next characters decide."""
        end = stop
        if stop < 0:
            end = len(data)
            reference = data.rfind("&", max(position, end - _LONGEST_REFERENCE))
            if reference >= 0 and _REFERENCE_SO_FAR.fullmatch(data, reference):
                end = reference
            elif data.endswith("\r"):
                end -= 1
            self._held = data[end:]
        if self.field is not None:
            text = data[position:end]
            self._add(_resolved(_LINE_BREAK.sub("\n", text)) if "\r" in text else _resolved(text))
        return end if stop >= 0 else len(data)

    def _comment(self, data: str, position: int) -> int:
        return self._skip_to("-->", data, position)

    def _instruction(self, data: str, position: int) -> int:
        return self._skip_to("?>", data, position)

    def _skip_to(self, closing: str, data: str, position: int) -> int:
        end = data.find(closing, position)
        if end < 0:
            self._held = data[max(position, len(data) - len(closing) + 1) :]
            return len(data)
        self._step = XMLElementParser._content
        return end + len(closing)

    def _cdata(self, data: str, position: int) -> int:
        closing = data.find("]]>", position)
        end = closing
        if closing < 0:
            end = len(data)
            for undecided in ("]]", "]", "\r"):
                if data.endswith(undecided, position):
                    end -= len(undecided)
                    break
            self._held = data[end:]
        self._add(_LINE_BREAK.sub("\n", data[position:end]))
        if closing < 0:
            return len(data)
        self._step = XMLElementParser._content
        return closing + 3

    def _tag(self, tag: re.Match[str]) -> None:
        closes, name, attributes, empty = tag.groups()
        if self._top is None:
            if not closes and not empty:
                self._open(name, attributes)
            return
        if closes and name == self._top:
            self._depth -= 1
            if self._depth == 0:
                self._top = self.field = None
                return
        elif not closes and not empty and name == self._top:
            self._depth += 1
        if self.field is not None:
            self._child(closes, name, attributes, empty)

    def _open(self, name: str, attributes: str) -> None:
        self._top = name
        self._depth = 1
        self._has_children = self._child_open = False
        self._text.restart()
        # The adapter writes keys that are no names as <entry key="...">, and reads them at the top too.
        field = dict(_parsed(attributes)).get("key", name) if name == "entry" else name
        self.field = field if field in self._fields else None

    def _child(self, closes: str, name: str, attributes: str, empty: str) -> None:
        if closes:
            self._write(" />" if self._child_open else f"</{name}>")
            self._child_open = False
            return
        self._close_start_tag()
        self._has_children = True
        written = "".join(f' {key}="{escape(value, _ATTRIBUTE_ESCAPES)}"' for key, value in _parsed(attributes))
        self._write(f"<{name}{written}")
        self._child_open = True
        if empty:
            self._write(" />")
            self._child_open = False

    _SECTIONS = (("<!--", _comment), ("<![CDATA[", _cdata), ("<?", _instruction))


def _parsed(attributes: str) -> list[tuple[str, str]]:
    return [
        (name, _resolved(_ATTRIBUTE_SPACE.sub(" ", double or single)))
        for name, double, single in _NAME_AND_VALUE.findall(attributes)
    ]


def _resolved(text: str) -> str:
    return _REFERENCE.sub(_character, text) if "&" in text else text


def _character(reference: re.Match[str]) -> str:
    decimal, hexadecimal, name = reference.groups()
    if name:
        return _PREDEFINED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if 0 < code < 0xD800 or 0xE000 <= code < 0x110000 else reference[0]
