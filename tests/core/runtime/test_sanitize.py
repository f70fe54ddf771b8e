from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tokenstream.core.runtime.sanitize import cut, head, left_out, repaired, size, without_base64

ANY_TEXT = st.text(st.characters(), max_size=200)  # with surrogates, which st.text leaves out


_encode_attributes = pytest.importorskip("opentelemetry.exporter.otlp.proto.common._internal")._encode_attributes


@pytest.fixture(scope="module")
def base64_data() -> str:
    return base64.b64encode(random.Random(1).randbytes(3_000)).decode()


@given(ANY_TEXT)
def test_repaired_text_can_be_encoded(text: str) -> None:
    """OTLP's real encoder takes every repaired text; what was in order stays as it was."""
    fine = repaired(text)
    (sent,) = _encode_attributes({"text": fine})
    assert sent.value.string_value == fine
    assert "\0" not in fine
    if "\0" not in text and not any("\ud800" <= each <= "\udfff" for each in text):
        assert fine == text


def test_the_encoder_loses_an_attribute_with_a_lone_surrogate(caplog: pytest.LogCaptureFixture) -> None:
    """Why texts are repaired; if this fails, they need it no more."""
    assert not _encode_attributes({"text": "a\ud800b"})
    assert "surrogates not allowed" in caplog.text


@given(ANY_TEXT, st.integers(-5, 250))
def test_head_fits_and_cuts_no_character(text: str, limit: int) -> None:
    """The beginning of the text, as much as fits, less at most three bytes of a character that does not."""
    kept = head(text, limit)
    assert text.startswith(kept)
    assert size(kept) <= max(limit, 0)
    assert kept == text or size(kept) > limit - 4


@given(ANY_TEXT.map(repaired), st.integers(0, 250), st.integers(0, 10**6))
def test_a_cut_text_fits_and_names_the_missing_bytes(text: str, limit: int, missing: int) -> None:
    """The mark's number is what was left out here and before."""
    marked = text + left_out(missing)
    kept = cut(marked, limit)
    assert len(kept.encode()) <= limit
    if kept:
        beginning, mark = kept.rsplit("…[", 1)
        assert text.startswith(beginning)
        assert int(mark.split()[0]) == size(text) - size(beginning) + missing


def test_base64_is_replaced_by_its_size(base64_data: str) -> None:
    """In data URLs, with line breaks, and bare; the text around it stays."""
    lines = "\n".join(base64_data[at : at + 76] for at in range(0, len(base64_data), 76))
    assert (
        without_base64(f"see data:image/png;base64,{base64_data} here") == "see data:image/png;base64,[3000 bytes] here"
    )
    assert without_base64(f"see {base64_data} here") == "see [base64: 3000 bytes] here"
    assert without_base64(f"data:a/b;base64,{lines}\nand more") == "data:a/b;base64,[3000 bytes]\nand more"


@pytest.mark.parametrize(
    "text",
    ["word " * 200, "x" * 1_000, "0123456789abcdef" * 30, "日本語" * 200, "https://example.com/" + "a/B1-" * 20, ""],
)
def test_other_text_than_base64_stays(text: str) -> None:
    """Prose, repeated letters, hexadecimal, scripts without blanks and addresses are text."""
    assert without_base64(text) == text
