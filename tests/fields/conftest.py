from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from otel_tokenstream.fields import Kind, parser_for

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

FIELDS = ("answer", "a", "field_2", "réponse", "answer2")


@pytest.fixture(scope="session")
def fields() -> tuple[str, ...]:
    """Output fields, some of them beginnings of others."""
    return FIELDS


@pytest.fixture(scope="session")
def attribute() -> Callable[..., dict[str, str]]:
    """Texts by field, as a parser finds them in these chunks."""

    def attributed(kind: Kind, chunks: Iterable[str], fields: Sequence[str] = FIELDS) -> dict[str, str]:
        parser = parser_for(kind, fields)
        texts: dict[str, str] = {}
        for pieces in (*map(parser.feed, chunks), parser.finish()):
            assert all(text for _, text in pieces)
            assert all(one[0] != next_one[0] for one, next_one in pairwise(pieces)), "neighbours of one field"
            for field, text in pieces:
                texts[field] = texts.get(field, "") + text
        assert parser.finish() == []
        return texts

    return attributed


@pytest.fixture(scope="session")
def split() -> Callable[[random.Random, str], list[str]]:
    """A text in chunks of random lengths, from single characters to the whole, with empty chunks at times."""

    def chunks(random: random.Random, text: str) -> list[str]:
        longest = random.choice((1, 2, 4, 12, 50, len(text) + 1))
        parts, start = [], 0
        while start < len(text):
            end = start + random.randint(1, longest)
            parts.append(text[start:end])
            start = end
        if random.random() < 0.2:
            parts.insert(random.randint(0, len(parts)), "")
        return parts

    return chunks


@pytest.fixture(scope="session")
def signature():
    """A DSPy signature with the fields as text; one that is missing is empty, as it is for a parser."""
    dspy = pytest.importorskip("dspy", reason="its adapters are what the parsers are compared with")
    outputs = {field: (str, dspy.OutputField(default="")) for field in FIELDS}
    return dspy.Signature({"question": (str, dspy.InputField()), **outputs})
