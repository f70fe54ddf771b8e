from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tokenstream.live.events import TYPES, EndEvent, Event, StartEvent, TokenEvent
from otel_tokenstream.live.wire import Numbering, Sent, WireError, event_of, flat, from_json, to_json

_TEXT = st.text()
_VALUES = {
    "str": _TEXT,
    "str | None": st.none() | _TEXT,
    "int": st.integers(-(2**62), 2**62),
    "int | None": st.none() | st.integers(-(2**62), 2**62),
    "bool": st.booleans(),
    "Mapping[str, str]": st.dictionaries(_TEXT, _TEXT),
    "Mapping[str, Any]": st.dictionaries(_TEXT, _TEXT | st.integers() | st.booleans() | st.lists(_TEXT)),
}


def _events(kind: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(kind, **{field.name: _VALUES[str(field.type)] for field in fields(kind)})


def _event(kind: type[Event] = StartEvent, **values: Any) -> Any:
    empty = {"str": "", "int": 0, "bool": False, "Mapping[str, str]": {}, "Mapping[str, Any]": {}}
    return kind(**{field.name: values.get(field.name, empty.get(str(field.type))) for field in fields(kind)})


@given(st.one_of([_events(kind) for kind in TYPES.values()]), st.integers(0, 10**6))
def test_every_event_comes_back_from_either_broker(event: Event, seq: int) -> None:
    """As JSON and as the strings of a Redis entry, an event of any type and any text is read as what it was."""
    sent = Sent(seq, event)
    assert from_json(to_json(sent)) == sent
    assert event_of({name: str(value) for name, value in flat(sent).items()}) == sent


def test_a_text_that_is_empty_is_told_from_one_that_may_not_leave() -> None:
    """None and the empty text of a token stay two things."""
    for text in ("", None):
        (read,) = (from_json(to_json(Sent(0, _event(TokenEvent, text=text)))).event,)
        assert isinstance(read, TokenEvent)
        assert read.text == text


def test_fields_of_later_versions_are_ignored() -> None:
    """A name that is not known does no harm."""
    sent = Sent(3, _event(EndEvent, stream_id="s", outcome="completed"))
    assert event_of({**flat(sent), "colour": "blue"}) == sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"{}",
        b'{"v": 1}',
        json.dumps({**flat(Sent(0, _event())), "v": 2}).encode(),
        json.dumps({**flat(Sent(0, _event())), "type": "news"}).encode(),
        json.dumps({**flat(Sent(0, _event())), "at_ns": "soon"}).encode(),
        b'{"v": {}, "type": []}',
        b"\xff\xfe",
    ],
)
def test_a_foreign_message_is_refused_without_quoting_it(body: bytes) -> None:
    """Whatever else stands in a broker is a WireError, which does not carry the message into a log."""
    with pytest.raises(WireError) as refused:
        from_json(body)
    assert "soon" not in str(refused.value)
    assert "news" not in str(refused.value)


def test_events_are_numbered_by_stream_until_its_end() -> None:
    """Streams side by side are counted apart, and a stream's count is forgotten with its end."""
    number = Numbering()
    told = [_event(stream_id="a"), _event(stream_id="b"), _event(stream_id="a"), _event(EndEvent, stream_id="a")]
    assert [number(event) for event in told] == [0, 0, 1, 2]
    assert number(_event(stream_id="a")) == 0
    assert number(_event(stream_id="b")) == 1


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES)
def test_the_page_describes_every_name_on_the_wire(kind: type[Event]) -> None:
    """Who writes a receiver of their own finds each name in the table of docs/outlets.md."""
    page = (Path(__file__).parents[2] / "docs" / "outlets.md").read_text(encoding="utf-8")
    _, _, table = page.partition("## On the wire")
    names = {name for line in table.splitlines() if line.startswith("|") for name in line.split("|")[1].split("`")}
    assert f"`{kind.type}`" in table or kind.type == "step"
    assert {"v", "type", "seq", *(field.name for field in fields(kind))} <= {name.partition(".")[0] for name in names}
