"""The output fields that the answer of the current model call should have.

Set by whoever knows the program (a DSPy adapter), read by whoever sees the answer (the engine
or litellm); it follows the context into tasks and threads.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from otel_tokenstream.core.runtime.context import set_contextvar
from otel_tokenstream.fields import FieldParser, Kind, parser_for

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from otel_tokenstream.fields.pieces import Piece


ALL = "*"


class _Expected(NamedTuple):
    kind: Kind
    fields: tuple[str, ...]
    listed: frozenset[str] | None = None
    """The only ones whose text is told apart; None is all."""


_expected: ContextVar[_Expected | None] = ContextVar("otel_tokenstream_fields", default=None)


def expecting(kind: Kind | None, fields: tuple[str, ...]) -> AbstractContextManager[object]:
    """Expect answers with these fields inside; ``None`` is a format without fields."""
    return set_contextvar(_expected, _Expected(kind, fields) if kind is not None and fields else None)


def telling_only(listed: frozenset[str]) -> AbstractContextManager[object]:
    """Tell apart only the listed fields of answers asked for inside: other text then belongs to none."""
    expected = _expected.get()
    return set_contextvar(_expected, expected and expected._replace(listed=None if ALL in listed else listed))


def expected_fields() -> tuple[str, ...]:
    expected = _expected.get()
    return () if expected is None else expected.fields


def expected_parser() -> FieldParser | None:
    """Return a new parser for the answer that is expected now, None where no fields are."""
    expected = _expected.get()
    if expected is None:
        return None
    parser = parser_for(expected.kind, expected.fields)
    return parser if expected.listed is None else _Listed(parser, expected.listed)


class _Listed:
    """A parser that keeps to itself what belongs to fields that are not listed."""

    __slots__ = ("_listed", "_parser")

    def __init__(self, parser: FieldParser, listed: frozenset[str]) -> None:
        self._parser = parser
        self._listed = listed

    def feed(self, text: str) -> list[Piece]:
        return [piece for piece in self._parser.feed(text) if piece[0] in self._listed]

    def finish(self) -> list[Piece]:
        return [piece for piece in self._parser.finish() if piece[0] in self._listed]
