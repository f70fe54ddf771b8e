from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# What XMLAdapter.parse searched for until DSPy 3.3.
PATTERN = re.compile(r"<(?P<name>\w+)>((?P<content>.*?))</\1>", re.DOTALL)
NAMES = ["answer", "a", "réponse", "think", "b"]
FRAGMENTS = [
    *[f"<{name}>" for name in NAMES],
    *[f"</{name}>" for name in NAMES * 2],
    *("x", "text ", " ", "\n", "\r\n", "<", "</", "<answer", "</answer", "</answer >", "<answer k='v'>", "< b>", "</b"),
    *("&amp;", "&", ">", "<<a>", "<!-- <a> -->", "<![CDATA[", "/>", "<a/>", "é", "\x00", "\ud83d"),
]


def parsed(text, fields):
    values = {}
    for match in PATTERN.finditer(text):
        if match["name"] in fields:
            values.setdefault(match["name"], match["content"].strip())
    return {name: value for name, value in values.items() if value}


def with_tags_closed(text):
    """The text, and at its end what closes the tags that nothing in it closes."""
    position = 0
    while opening := re.compile(r"<(\w+)>").search(text, position):
        closing = f"</{opening[1]}>"
        if closing not in text[opening.end() :]:
            text += closing
        position = text.index(closing, opening.end()) + len(closing)
    return text


adversarial = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=2), max_size=20).map("".join).map(with_tags_closed)


@given(text=adversarial, cuts=st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_any_text_is_read_as_the_old_adapter_read_it(attribute, split, fields, text, cuts):
    """Whatever stands between tags and around them, in whatever chunks, is read as the pattern reads the whole."""
    expected = parsed(text, fields)
    assert attribute("xml-tags", [text]) == expected
    assert attribute("xml-tags", split(cuts, text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<answer>\n a &amp; b < c <b>\n</answer>", {"answer": "a &amp; b < c <b>"}),
        ("<answer>one</answer><answer>two</answer>", {"answer": "one"}),
        ("<think><answer>no</answer></think><answer>yes</answer>", {"answer": "yes"}),
        ("<answer>cut </ans", {"answer": "cut </ans"}),
        ("use <br> here: <answer>x</answer>", {}),
    ],
    ids=["raw", "first", "within others", "breaks off", "an open tag hides the rest"],
)
def test_tags_one_by_one(attribute, text, expected):
    """The form's habits, the last two of them where the adapter needs the whole answer."""
    assert attribute("xml-tags", [text]) == attribute("xml-tags", text) == expected
