"""Which fields the answer of the model call in progress is expected to have.

Set by whoever knows the program (a DSPy adapter), read by whoever sees the answer (the engine
or litellm); it follows the context into tasks and threads.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from otel_tokenstream.fields import FieldParser, Kind, parser_for

if TYPE_CHECKING:
    from collections.abc import Iterator

_expected: ContextVar[tuple[Kind, tuple[str, ...]] | None] = ContextVar("otel_tokenstream_fields", default=None)


@contextmanager
def expecting(kind: Kind | None, fields: tuple[str, ...]) -> Iterator[None]:
    """Expect answers with these fields inside; ``None`` is a format without fields."""
    token = _expected.set((kind, fields) if kind is not None and fields else None)
    try:
        yield
    finally:
        _expected.reset(token)


def expected_parser() -> FieldParser | None:
    """Return a new parser for the answer that is expected now, None where no fields are."""
    expected = _expected.get()
    return None if expected is None else parser_for(*expected)
