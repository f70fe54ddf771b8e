from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from otel_tokenstream.patches.litellm.sent_events import SentEvents

OBJECTS = st.lists(st.dictionaries(st.text(), st.text() | st.integers()), max_size=5)


@given(OBJECTS, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 400), max_size=8))
def test_objects_are_found_however_the_bytes_are_cut(sent: list[object], newline: str, cuts: list[int]) -> None:
    """A network cuts where it likes: between events, inside one, inside a character."""
    body = "".join(f"event: x{newline}data: {json.dumps(each)}{newline}{newline}" for each in sent).encode()
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    events = SentEvents()

    found = [each for start, end in pairwise(places) for each in events.feed(body[start:end])]
    assert found == sent


def test_what_is_no_object_is_left_out() -> None:
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
