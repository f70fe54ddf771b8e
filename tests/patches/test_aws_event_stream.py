from __future__ import annotations

import json
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tokenstream.patches.litellm.transport.aws_event_stream import EventStream
from tests.patches.bedrock_provider import event, failure, framed

pytest.importorskip("botocore", reason="it knows the frames")

EVENTS = st.lists(
    st.tuples(
        st.text("abcdefghij", min_size=1, max_size=20),
        st.dictionaries(st.text(), st.text() | st.integers()).filter(lambda fields: "p" not in fields),
        st.booleans(),
    ),
    max_size=5,
)


@given(EVENTS, st.lists(st.integers(0, 900), max_size=8))
def test_events_are_found_however_the_bytes_are_cut(sent: list[tuple[str, dict, bool]], cuts: list[int]) -> None:
    """A network cuts where it likes: between frames, in a header, in a checksum."""
    body = b"".join(
        framed(
            json.dumps(fields).encode(),
            **({"exception_type": name} if failed else {"event_type": name, "message_type": "event"}),
        )
        for name, fields, failed in sent
    )
    places = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    events = EventStream()

    assert [tuple(each) for start, end in pairwise(places) for each in events.feed(body[start:end])] == sent


def test_an_error_has_its_own_name() -> None:
    """An exception of the model, an error of the protocol, and one without any word for it."""
    events = EventStream().feed(
        failure("throttlingException", "slow down")
        + framed(b"", message_type="error", error_code="InternalFailure")
        + framed(b"{}", message_type="error")
    )

    assert [(name, failed) for name, _, failed in events] == [
        ("throttlingException", True),
        ("InternalFailure", True),
        ("", True),
    ]


def test_after_bytes_that_are_no_frames_nothing_is_looked_for() -> None:
    """What was found before stays found; nothing raises, nothing is kept."""
    whole = event("messageStop", stopReason="end_turn")
    events = EventStream()

    assert [each.name for each in events.feed(whole + b"x" * 40)] == ["messageStop"]
    assert events.feed(whole) == []
    broken = bytearray(whole)
    broken[-1] ^= 1
    assert EventStream().feed(bytes(broken)) == []


def test_a_payload_that_is_no_object_has_no_fields() -> None:
    """A frame's payload can be anything."""
    ((name, fields, _),) = EventStream().feed(framed(b"[1]", event_type="list"))

    assert (name, fields) == ("list", {})
    assert EventStream().feed("text") == []


def test_without_botocore_there_are_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks are still counted, as empty ones."""
    monkeypatch.setitem(sys.modules, "botocore.eventstream", None)

    assert EventStream().feed(event("messageStart", role="assistant")) == []
