from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

HEADERS = [f"[[ ## {name} ## ]]" for name in ("answer", "a", "field_2", "réponse", "answer2", "completed", "other")]
FRAGMENTS = [
    *HEADERS * 3,
    *[f"\n{header}\n" for header in HEADERS],
    *("[[ ## an", "swer ## ]]", "[[ ##  a ## ]]", "[[ ## a ##]]", "[[ ## a-b ## ]]", "[[[[ ## a ## ]]", "\n[[ ## "),
    *("[", "[[", "[[ ", "[[ #", "[[ ##", "[[ ## ", "]", "]]", "# ", "##", " ## ]]", " ##", " ##\n]]"),
    *(
        "\n",
        "\n",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "\r\r\n",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x1d",
        "\x1e",
        "\x85",
        "\u2028",
        "\u2029",
    ),
    *(" ", "  ", "\t", "\x1f", "\xa0", "\u3000", "\u200b", " " * 30),
    *("text", "word ", "x", "é", "😀", "👩\u200d🔬", "\ud83d", "\x00", "\x1b", "_", "1"),
]
adversarial = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=40).map("".join)


def parsed(signature, text):
    from dspy.adapters.chat_adapter import ChatAdapter

    return {field: value for field, value in ChatAdapter().parse(signature, text).items() if value}


@given(text=adversarial, cuts=st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_is_read_as_the_adapter_reads_it(signature, attribute, split, text, cuts):
    """Hypothesis looks for a text and a split that the parser and the adapter read differently."""
    expected = parsed(signature, text)
    assert attribute("chat", [text]) == expected
    assert attribute("chat", list(text)) == expected
    assert attribute("chat", split(cuts, text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[ ## answer ## ]]\n one  two \n\n[[ ## completed ## ]]\n", {"answer": "one  two"}),
        ("[[ ## a ## ]] same line  \nnext", {"a": "same line\nnext"}),
        ("prose\n[[ ## a ## ]]\nx [[ ## answer ## ]] y", {"a": "x [[ ## answer ## ]] y"}),
        ("[[ ## a ## ]]\nfirst\n[[ ## a ## ]]\nsecond", {"a": "first"}),
        ("[[ ## a ## ]]\n\n[[ ## answer ## ]]\ny\n[[ ## a ## ]]\nlate", {"answer": "y"}),
        ("[[ ## a ## ]]\nx\n[[ ## completed ## ]]\nrest\n[[ ## answer ## ]]\ny", {"a": "x", "answer": "y"}),
        ("[[ ## a ## ]]\nx\n[[ ## other ## ]]\nz", {"a": "x"}),
        ("[[ ## a ## ]]\r\none\r\rtwo\u2028three\x0c", {"a": "one\n\ntwo\nthree"}),
        ("[[ ## a ## ]]\nx\n[[ ## answer #", {"a": "x\n[[ ## answer #"}),
        ("[[ ## a ## ]]\nx\n[[ ", {"a": "x\n[["}),
        ("  [[ ## a ## ]]\nx", {"a": "]]\nx"}),
    ],
    ids=[
        *("stripped", "on the header's line", "header within a line", "repeated", "empty counts as the first"),
        *("after completed", "unknown header", "line breaks", "half a header at the end", "opening at the end"),
        "indented header keeps its tail, as the adapter does",
    ],
)
def test_sections_are_read_as_the_adapter_reads_them(signature, attribute, text, expected):
    """The adapter's habits one by one, in whole and in single characters."""
    assert parsed(signature, text) == expected
    assert attribute("chat", [text]) == attribute("chat", text) == expected
