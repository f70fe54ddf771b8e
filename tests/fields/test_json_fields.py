from __future__ import annotations

import json
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = [
    *(
        "word ",
        "x",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "\b",
        "\f",
        "\x00",
        "\x1f",
        "\x7f",
        "\u2028",
        "é",
        "😀",
        "😀😀",
        "{",
        "}",
    ),
    *("[", "]", '"', "'", "\\", '\\"', "/", ",", ":", "```", "&amp;", "<a>", "\ud83d", "\ude00", "\\u0041", "\\n"),
    *('"answer": "no"', '{"answer": 1}', '", "a": "', '"}, {"a": "z"}', "[[ ## a ## ]]"),
]
VALUES = [0, -1.5e10, True, False, None, [], {}, 12345678901234567890, ["\\", "\\\\", '"', "]", "}"]]
VALUES += [[1, {"answer": 'inner " } ]', "a": [[]]}], {"a": "x", "answer": ["]", "}", '\\"', {"a": {}}]}]
STRANGERS = ["other", "ANSWER", "answer ", " answer", "", "answer23", 'an"swer', "ans\\wer", "x" * 100]
SPACES = ["", "", "", " ", "\n", "\n  ", "\t", "\r\n", " " * 20]
SURROUNDINGS = [("", ""), ("\n ", "\n"), ("```json\n", "\n```"), ("```json\n", "\n```\nDone."), ("Here: ", " Bye.")]
SURROUNDINGS += [("\ufeff", ""), ("<think>it's so</think>\n", "\n\n")]


def adapter(name="JSONAdapter"):
    module = {"JSONAdapter": "json_adapter", "BAMLAdapter": "baml_adapter"}[name]
    return getattr(import_module(f"dspy.adapters.{module}"), name)()


def written(seeded, text):
    """The text as a JSON string, each character in one of its spellings."""
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", "/": "\\/"}
    spelled = []
    for character in text:
        spelling = json.dumps(character)[1:-1]
        if character in short and seeded.random() < 0.7:
            spelling = short[character]
        elif ord(character) < 0x80 and seeded.random() < 0.2:
            spelling = f"\\u{ord(character):04X}"
        elif character >= " " and character not in '"\\' and seeded.random() < 0.8:
            spelling = character
        spelled.append(spelling)
    return '"' + "".join(spelled) + '"'


def answer(seeded, fields):
    """A random object, and its values for these fields."""

    def space():
        return seeded.choice(SPACES)

    keys = [name for name in fields if seeded.random() < 0.8] + seeded.sample(STRANGERS, seeded.randint(0, 3))
    seeded.shuffle(keys)
    members, values = [], {}
    for key in keys:
        if seeded.random() < 0.75:
            value = written(seeded, "".join(seeded.choice(TEXTS) for _ in range(seeded.randint(0, 12))))
        else:
            value = json.dumps(seeded.choice(VALUES), indent=seeded.choice((None, 2)))
        members.append(f"{space()}{written(seeded, key)}{space()}:{space()}{value}{space()}")
        if key in fields:
            values[key] = json.loads(value)
    before, after = seeded.choice(SURROUNDINGS)
    return before + "{" + ",".join(members) + "}" + after, values


@given(seeded=st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_object_is_read_as_the_adapter_reads_it(signature, attribute, split, fields, seeded):
    """Adversarial objects in any chunks: strings as JSONAdapter.parse gives them, other values as JSON."""
    text, values = answer(seeded, fields)
    parsed = adapter().parse(signature, text)
    texts = attribute("json", split(seeded, text))
    for field in fields:
        if isinstance(values.get(field, ""), str):
            assert texts.get(field, "") == parsed[field]
        else:
            assert json.loads(texts[field]) == values[field]


@given(
    values=st.dictionaries(st.sampled_from(("answer", "a", "field_2", "other")), st.text() | st.text(TEXTS[0])),
    ascii_only=st.booleans(),
    cuts=st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_strings_come_back(signature, attribute, split, values, ascii_only, cuts):
    """Whatever text json.dumps writes is read again as the adapter reads it."""
    text = json.dumps(values, ensure_ascii=ascii_only)
    expected = {field: value for field, value in adapter().parse(signature, text).items() if value}
    assert attribute("json", split(cuts, text)) == attribute("json", text) == expected


broken = st.lists(
    st.sampled_from(
        [
            *(
                '{"answer"',
                ':"',
                '"',
                "'",
                ":",
                "{",
                "}",
                "[",
                "]",
                ",",
                "\\",
                "\\u",
                "d83d",
                "\\ude00",
                "\\ud83d",
                '\\"',
            ),
            *(" ", "\n", "x", "answer", "field_2", "12", "true", " " * 300, "\\u00", '"réponse": "', "\x00", "\ud83d"),
        ]
    ),
    max_size=25,
).map("".join)


@given(text=broken, cuts=st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None, derandomize=True)
def test_broken_json_is_read_alike_in_every_split(attribute, split, text, cuts):
    """What is no JSON raises nothing and depends on no split."""
    assert attribute("json", split(cuts, text)) == attribute("json", text) == attribute("json", [text])


@pytest.mark.parametrize("name", ["JSONAdapter", "BAMLAdapter"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answer": "a\nb\tc"}', {"answer": "a\nb\tc"}),
        ('{"answer": "\\_ \\q \\$ \\uZZ"}', {"answer": "\\_ \\q \\$ \\uZZ"}),
        ("{'answer': 'it\\'s'}", {"answer": "it's"}),
        ("{answer: 'x', a: y z}", {"answer": "x", "a": "y z"}),
        ('{"answer": "x" "a": "y",}', {"answer": "x", "a": "y"}),
        ('{"answer": "he said "hi" there", "a": "y"}', {"answer": 'he said "hi" there', "a": "y"}),
        ('{"answer": "he said "hi"", "a": "y"}', {"answer": 'he said "hi"', "a": "y"}),
        ('Sure {braces} first\n{"answer": "x"}', {"answer": "x"}),
        ('{} {"answer": "x"}', {"answer": "x"}),
        ('{{"answer": "x"}}', {"answer": "x"}),
        ('[{"answer": "x"}]', {"answer": "x"}),
        ('{"answer": "x"} {"a": "y"}', {"answer": "x"}),
        ('{"a": "x", "answer": "cut o', {"a": "x", "answer": "cut o"}),
        ('{"answer": "cut\\', {"answer": "cut\\"}),
        ('{"answer": "cut\\u00', {"answer": "cut\\u00"}),
        ('{"answer": "x"', {"answer": "x"}),
    ],
)
def test_mended_json_is_read_as_the_adapter_mends_it(signature, attribute, name, text, expected):
    """The usual faults of models, where what json_repair makes of them is known in time."""
    assert {field: value for field, value in adapter(name).parse(signature, text).items() if value} == expected
    assert attribute("json", [text]) == attribute("json", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"answer": "first", "answer": "last"}', {"answer": "first"}),
        ('{"answer": "first"}\n{"answer": "second"}', {"answer": "first"}),
        ('Given {"k": 1}: {"answer": "x"}', {"answer": "x"}),
        ('{"answer": "he said "hi", there", "a": "y"}', {"answer": 'he said "hi', "a": "y"}),
        ('{"answer": "x } y"} and [1]', {"answer": "x } y"}),
        ('{"answer": "cut  ', {"answer": "cut  "}),
        (
            '{"answer": [1,  {"a": "x"}], "a": 12.50, "field_2": tr',
            {"answer": '[1,  {"a": "x"}]', "a": "12.50", "field_2": "tr"},
        ),
        ('{"outer": {"answer": "x"}}', {}),
        ('{"answer": "x"' + " " * 300 + "y", {"answer": "x"}),
    ],
    ids=[
        *("first of a repeated key", "first of two objects", "an object without fields", "inner quote before a comma"),
        *("braces in strings", "whitespace where it breaks off", "raw text of other values", "nested is not ours"),
        "a quote ends its string after much whitespace",
    ],
)
def test_known_differences_from_the_adapter(attribute, text, expected):
    """Decisions where the adapter needs the whole answer, or refuses it."""
    assert attribute("json", [text]) == attribute("json", text) == expected
