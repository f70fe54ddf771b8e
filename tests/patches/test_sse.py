from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otel_tokenstream.patches.litellm.transport.sse import SentEvents

OBJECTS = st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=5)
NESTED = st.recursive(st.text() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(OBJECTS, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 400), max_size=8))
def test_objects_are_found_however_the_bytes_are_cut(sent: list[object], newline: str, cuts: list[int]) -> None:
    """A network cuts where it likes: between events, inside one, inside a character."""
    body = "".join(f"event: x{newline}data: {json.dumps(each)}{newline}{newline}" for each in sent).encode()
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    events = SentEvents()

    found = [each for start, end in pairwise(places) for each in events.feed(body[start:end])]
    assert found == sent


@given(
    st.lists(st.dictionaries(st.text(), NESTED), max_size=5),
    st.sampled_from([",", ",\r\n", "\n,\n"]),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_objects_of_an_array_are_found_however_the_bytes_are_cut(
    sent: list[object], between: str, ascii_only: bool, cuts: list[int]
) -> None:
    """Gemini sends an array bit by bit where nobody asks for events."""
    written = (json.dumps(each, ensure_ascii=ascii_only) for each in sent)
    body = f"[{between.join(written)}\n]\n".encode()
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    events = SentEvents()

    found = [each for start, end in pairwise(places) for each in events.feed(body[start:end])]
    assert found == sent


def test_an_object_of_an_array_is_given_as_soon_as_it_is_whole() -> None:
    """Not when the next one begins: it may come much later."""
    events = SentEvents()

    assert events.feed(b'\n[{"a": {"b": "}"}') == []
    assert events.feed(b"}") == [{"a": {"b": "}"}}]


def test_lines_that_are_no_object_are_left_out() -> None:
    """Comments, bare event names and end markers carry nothing."""
    assert SentEvents().feed(b': ping\n\nevent: x\n\ndata: [DONE]\n\ndata: {"a": 1}\n\n') == [{"a": 1}]


def test_ready_objects_pass() -> None:
    """Some versions hand out objects instead of bytes."""
    assert SentEvents().feed({"type": "ping"}) == [{"type": "ping"}]


def test_an_endless_event_is_given_up() -> None:
    """Memory stays bounded: the event is lost, those after it are not."""
    events = SentEvents()
    for _ in range(3):
        events.feed(b"x" * (1 << 20))

    assert events.feed(b'\n\ndata: {"a": 1}\n\n') == [{"a": 1}]


def test_an_endless_object_of_an_array_is_given_up() -> None:
    """The same of an array: the object is lost, those after it are not."""
    events = SentEvents()
    events.feed(b'[{"x": "')
    for _ in range(3):
        events.feed(b"x" * (1 << 20))

    assert events.feed(b'"}, {"a": 1}, {"b"') == [{"a": 1}]
    assert events.feed(b": 2}") == [{"b": 2}]
