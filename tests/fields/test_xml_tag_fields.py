from __future__ import annotations

import random
import re

import pytest

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


def every_tag_is_closed(text):
    position = 0
    while opening := re.compile(r"<(\w+)>").search(text, position):
        closing = f"</{opening[1]}>"
        position = text.find(closing, opening.end()) + len(closing)
        if position < len(closing):
            return False
    return True


def test_random_splits_give_what_the_old_adapter_found(attribute, split, fields):
    """3,000 adversarial answers in random chunks, each compared with the pattern on the whole."""
    seeded = random.Random(23)
    compared = found = 0
    while compared < 3000:
        text = "".join(seeded.choice(FRAGMENTS) for _ in range(seeded.randint(1, 20)))
        if every_tag_is_closed(text):
            chunks = split(seeded, text)
            expected = parsed(text, fields)
            assert attribute("xml-tags", chunks) == expected, chunks
            compared += 1
            found += len(expected)
    assert found > 500


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
