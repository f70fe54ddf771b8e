from __future__ import annotations

import io
import os

import pytest

from otel_tokenstream.analysis.terminal import columns, shortened, write


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("模型", 4), ("e\u0301", 1), ("", 0)])
def test_a_text_is_as_wide_as_its_letters(text: str, width: int) -> None:
    """Wide letters take two columns, combining marks none."""
    assert columns(text) == width


@pytest.mark.parametrize(
    ("text", "width", "left"), [("abc", 3, "abc"), ("abc", 2, "ab"), ("模型", 3, "模"), ("a", 0, "")]
)
def test_a_text_is_cut_to_columns(text: str, width: int, left: str) -> None:
    """A wide letter that fits by half is left out."""
    assert shortened(text, width) == left


@pytest.mark.parametrize(("encoding", "written"), [("ascii", b"?? 1\n"), ("cp1252", b"?? 1\n"), ("gb2312", None)])
def test_letters_that_the_output_does_not_have_are_question_marks(encoding: str, written: bytes | None) -> None:
    """The rest is written as it is."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding, newline="\n")
    assert write("模型 1\n", out)
    assert raw.getvalue() == (written or "模型 1\n".encode(encoding))


@pytest.mark.parametrize("text", ["x" * 100_000, "模"])
def test_a_reader_that_is_gone_is_told(text: str) -> None:
    """Closing the output fails no more either."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="ascii") as out:
        assert not write(text, out)
