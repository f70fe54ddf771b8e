from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tokenstream.core.call.chunk_kinds import TEXT, TOOL_CALL
from otel_tokenstream.core.content.base64_filter import Base64Filter
from otel_tokenstream.core.content.redaction import Redactor, StreamingRedactor
from otel_tokenstream.core.runtime.sanitize import without_base64

DATA = base64.b64encode(random.Random(1).randbytes(900)).decode()
LINES = "\n".join(DATA[at : at + 76] for at in range(0, len(DATA), 76))
SHOWN = 64  # characters of data that may have left before it was known to be data


def pieces_of(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(0, len(text), length)]


def passed(pieces: list[str]) -> str:
    base64_filter = Base64Filter()
    return "".join([*(base64_filter.feed(piece) for piece in pieces), base64_filter.close()])


@pytest.mark.parametrize("length", [1, 3, 20, 100, 5_000])
@pytest.mark.parametrize("data", [DATA, LINES], ids=["one line", "lines"])
def test_a_data_url_loses_its_data_however_it_was_split(data: str, length: int) -> None:
    """What follows ``base64,`` is withheld until it ends, and then it is its size."""
    text = f"See data:image/png;base64,{data} and data:a/b;base64,AAAA, and more."
    assert passed(pieces_of(text, length)) == without_base64(text)


@pytest.mark.parametrize("length", [1, 3, 20, 100, 5_000])
def test_bare_base64_loses_all_but_its_beginning(length: int) -> None:
    """Where it came in pieces, the first ones looked like a word and have left."""
    left = passed(pieces_of(f"See {DATA}, and more.", length))
    assert left.startswith("See ")
    assert left.endswith(" bytes], and more.")
    shown = left.removeprefix("See ").partition("[base64: ")[0]
    assert DATA.startswith(shown)
    assert len(shown) <= SHOWN


def test_data_that_does_not_end_is_not_kept() -> None:
    """Of a very long run only its size is held."""
    base64_filter = Base64Filter()
    left = "".join(base64_filter.feed(DATA) for _ in range(1_000))
    assert left == ""
    assert base64_filter.close() == "[base64: 900000 bytes]"


@given(st.lists(st.text("ab ;,=/1\n", max_size=9)))
def test_text_that_is_no_data_passes_at_once(pieces: list[str]) -> None:
    """Words leave with the piece they came in."""
    base64_filter = Base64Filter()
    left = [base64_filter.feed(piece) for piece in pieces]
    assert "".join([*left, base64_filter.close()]) == "".join(pieces)
    assert max(map(len, "".join(pieces).split()), default=0) > 30 or left == pieces


@pytest.mark.parametrize("text", ["x" * 1_000, "0123456789abcdef" * 30, "https://example.com/" + "a/B1-" * 20])
@pytest.mark.parametrize("length", [1, 7, 400])
def test_long_words_that_are_no_data_come_whole(text: str, length: int) -> None:
    """They wait until they end."""
    assert passed(pieces_of(f"See {text} there.", length)) == f"See {text} there."


@pytest.mark.parametrize("hook", [None, str.strip, Redactor(lambda text: text.replace("secret", "[X]"), longest=6)])
@pytest.mark.parametrize("kind", [TEXT, TOOL_CALL])
def test_streamed_text_leaves_without_data(hook: object, kind: str) -> None:
    """With any hook or none, in a run that ends in data too."""
    gate = StreamingRedactor(hook, kind)  # type: ignore[arg-type]
    pieces = pieces_of(f'{{"image": "data:image/png;base64,{DATA}', 11)
    left = "".join([*(gate.feed(piece) for piece in pieces), gate.close()])
    assert left == '{"image": "data:image/png;base64,[900 bytes]'
