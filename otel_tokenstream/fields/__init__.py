"""Assign streamed text to the output fields of a DSPy program.

A parser is fed an answer chunk by chunk and gives back pieces of text with their field, as soon as
they are certain. For every split of an answer into chunks the pieces of a field join to the same
text; for fields annotated ``str`` that is the text DSPy's adapter parses from the whole answer.
Markup, prose around the fields and fields the program does not have belong to none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_tokenstream.fields.pieces import Piece

__all__ = ["FieldParser", "Kind", "parser_for"]

Kind = Literal["chat", "json", "xml", "xml-tags"]


class FieldParser(Protocol):
    """Never raises, whatever text comes; holds back only what is undecided."""

    def feed(self, text: str) -> list[Piece]:
        """Pieces (field, text) that became certain with this text, in order; neighbours of one field joined."""

    def finish(self) -> list[Piece]:
        """Return the text that was held back when the answer ended."""


# Loaded when first used: their patterns take longer to compile than all the rest of a program's start.
_PARSERS: dict[Kind, tuple[str, str]] = {
    "chat": ("chat_markers", "ChatParser"),
    "json": ("json_object", "JSONObjectParser"),
    "xml": ("xml_elements", "XMLElementParser"),
    "xml-tags": ("xml_tags", "XMLTagParser"),
}


def parser_for(kind: Kind, fields: Sequence[str]) -> FieldParser:
    """A new parser for one answer with these output fields.

    ``chat`` reads ChatAdapter's sections, ``json`` the object of JSONAdapter and BAMLAdapter,
    ``xml`` the elements of XMLAdapter since DSPy 3.4 and ``xml-tags`` the tags of XMLAdapter before,
    which knew neither entities nor nesting.
    """
    module, name = _PARSERS[kind]
    parser: Callable[[Sequence[str]], FieldParser] = getattr(import_module(f"{__name__}.{module}"), name)
    return parser(fields)
