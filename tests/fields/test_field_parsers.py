from __future__ import annotations

import random
import tracemalloc
from itertools import cycle, islice
from time import process_time

import pytest

from otel_tokenstream.fields import parser_for

OPENINGS = {"chat": "[[ ## answer ## ]]\nx", "json": '{"answer": "x', "xml": "<answer>x", "xml-tags": "<answer>x"}
# What a model that has lost its way may repeat, after which head.
ENDLESS = {
    "chat": [
        ("", "["),
        ("", "\n["),
        ("\n[[ ## ", "x"),
        ("\n", "[[ ## a"),
        ("\n", "[[ ## answer ## ]]\n"),
        ("\n[[ ## a ## ]]", "x\r"),
    ],
    "json": [
        *[("", "\\"), ("", '"'), ("", "\\ud83d"), ('" ', "'"), ('"', " "), ('"}', "{"), ('", "', "x"), ('", ', "x")],
        *[('", "a": ', "["), ('", "a": ["', "\\"), ('", "a"', " "), ('", "a":', " "), ('", "b": "', " "), ('", ', "{")],
    ],
    "xml": [
        *[("", "<"), ("<", "x"), ("<b", " "), ("<b k='", "x"), ("", "<b k='"), ("<b k='1'", " k='1'"), ("", "<b>")],
        *[("", "&"), ("&#", "1"), ("", "\r"), ("<!--", "-"), ("<![CDATA[", "]"), ("<?", "?"), ("", "<answer>")],
    ],
    "xml-tags": [("", "<"), ("", "</answer"), ("</answer>", "<"), ("</answer><", "x"), ("</answer>", "<b>")],
}
CASES = [(kind, head, run) for kind, pairs in ENDLESS.items() for head, run in pairs]
CASES += [(kind, "", run) for kind in OPENINGS for run in ("x", " ", "\n", "\r", " \r\n")]


def repeating(kind, head, run, length):
    """A parser far into a field, and the characters of a run to feed it."""
    parser = parser_for(kind, ["answer", "a"])
    for character in OPENINGS[kind] + head:
        parser.feed(character)
    return parser, islice(cycle(run), length)


@pytest.mark.parametrize("kind", OPENINGS)
@pytest.mark.parametrize(
    ("chunk", "certain"), [("word", "word"), (" word", " word"), ("word ", "word"), ("né", "né"), ("[#]>", "[#]>")]
)
def test_text_is_given_at_once(kind, chunk, certain):
    """A chunk in the middle of a field is not held back, but for whitespace at its end."""
    parser = parser_for(kind, ["answer"])
    parser.feed(OPENINGS[kind])
    if kind == "json":
        certain = chunk
    assert parser.feed(chunk) == [("answer", certain)]


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        (
            "chat",
            [
                *[("so ", None), ("\n[[ ## a", None), (" ## ]]", "a"), ("\nx", "a"), ("\n\n[[", None), ("x", "a")],
                *[("\n[[ ## completed ## ]]", None), ("x", None)],
            ],
        ),
        (
            "json",
            [
                *[("so {", None), ('"a"', None), (': "', "a"), ("x", "a"), ('"', None), (', "b": "x"', None)],
                *[(', "c": [', "c"), ("1]", None), ("}", None)],
            ],
        ),
        ("xml", [("so <a", None), (">", "a"), ("x", "a"), ("</a>", None), ("<b>x", None), ("</b><c>", "c")]),
        ("xml-tags", [("so <a", None), (">", "a"), ("x", "a"), ("</a>", None), ("<b>x", None), ("</b><c>", "c")]),
    ],
)
def test_field_says_where_the_answer_is(kind, steps):
    """The field at hand is known after each chunk; markup and what is outside the fields have none."""
    parser = parser_for(kind, ["a", "c"])
    found = []
    for chunk, _ in steps:
        parser.feed(chunk)
        found.append((chunk, parser.field))
    assert found == steps


@pytest.mark.parametrize(("kind", "head", "run"), CASES)
def test_endless_runs_take_linear_time(kind, head, run):
    """Eight times as many characters, one by one, take about eight times as long; looking at all each time takes 64."""

    def took(length):
        parser, characters = repeating(kind, head, run, length)
        started = process_time()
        for character in characters:
            parser.feed(character)
        parser.finish()
        return process_time() - started

    few = min(took(10_000) for _ in range(3))
    assert min(took(80_000) for _ in range(2)) < 24 * few


@pytest.mark.parametrize(("kind", "head", "run"), CASES)
def test_held_back_text_is_bounded(kind, head, run):
    """After 30,000 characters of anything a parser holds no more than one possible tag or a stretch of whitespace."""
    parser, characters = repeating(kind, head, run, 30_000)
    tracemalloc.start()
    for character in characters:
        parser.feed(character)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 12_000


@pytest.mark.parametrize("kind", ["chat", "xml", "xml-tags"])
def test_endless_whitespace_becomes_text(attribute, split, kind):
    """Whitespace is given in blocks of 4,096 characters, the same in every split; only what follows it is dropped."""
    head = OPENINGS[kind]
    for length in (4095, 4096, 10_000):
        given = "x" + " " * (length // 4096 * 4096)
        for chunks in ([head, " " * length], [head + " " * length], split(random.Random(length), head + " " * length)):
            assert attribute(kind, chunks) == {"answer": given}
        assert attribute(kind, [head, " " * length, "y"]) == {"answer": "x" + " " * length + "y"}


@pytest.mark.parametrize("kind", OPENINGS)
def test_no_fields_give_no_pieces(kind):
    """A program without output fields has nothing to attribute."""
    parser = parser_for(kind, [])
    assert parser.feed(OPENINGS[kind]) == parser.feed("more") == parser.finish() == []
