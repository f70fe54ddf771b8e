from __future__ import annotations

import pytest

from otel_tokenstream.core.call.tool_calls import ToolCalls

# Pieces (position, id, name, arguments), and the number of the call that each belongs to.
STREAMS: dict[str, tuple[list[tuple[int | None, str | None, str | None, str]], list[int]]] = {
    "as the API has it": (
        [
            (0, "a", "read", ""),
            (0, None, None, '{"p"'),
            (0, None, None, ":1}"),
            (1, "b", "read", ""),
            (1, None, None, "{}"),
        ],
        [0, 0, 0, 1, 1],
    ),
    "two whole calls at one position": ([(0, "a", "read", '{"p":1}'), (0, "b", "write", '{"p":2}')], [0, 1]),
    "pieces without an id go on with the newest at their position": (
        [(0, "a", "read", ""), (0, None, None, "{}"), (0, "b", "write", ""), (0, None, None, "{}")],
        [0, 0, 1, 1],
    ),
    "by turns at one position": (
        [(0, "a", "read", "{"), (0, "b", "write", "{"), (0, "a", None, "}"), (0, "b", None, "}")],
        [0, 1, 0, 1],
    ),
    "by turns at two positions without ids": (
        [(0, None, "read", "{"), (1, None, "write", "{"), (0, None, None, "}"), (1, None, None, "}")],
        [0, 1, 0, 1],
    ),
    "an id in every piece, at positions that count up": ([(0, "a", "read", "{"), (1, "a", None, "}")], [0, 0]),
    "a late id": ([(0, None, "read", ""), (0, "a", None, '{"p"'), (0, "a", None, ":1}")], [0, 0, 0]),
    "a late id with the name again": ([(0, None, "read", '{"p"'), (0, "a", "read", ":1}")], [0, 0]),
    "an id after a call that had none": ([(0, None, "read", '{"p":1}'), (0, "b", "write", '{"p":2}')], [0, 1]),
    "no ids at all": ([(0, None, "read", '{"p":1}'), (0, None, "write", '{"p":2}')], [0, 1]),
    "no ids and one tool": ([(0, None, "read", '{"p":1}'), (0, None, "read", '{"p":2}')], [0, 1]),
    "the name in every piece": ([(0, None, "read", '{"p"'), (0, None, "read", ":1}")], [0, 0]),
    "an id for every piece, as vLLM had them": (
        [(0, "x", "read", ""), (0, "y", None, '{"p":'), (0, "z", None, "1}")],
        [0, 0, 0],
    ),
    "a new id before its name": ([(0, "a", "read", "{}"), (0, "b", None, ""), (0, "b", "write", "{}")], [0, 1, 1]),
    "a new id whose name never comes": ([(0, "a", "read", '{"p":1}'), (0, "b", None, '{"p":2}')], [0, 1]),
    "one id for all, at two positions": (
        [(0, "c", "read", ""), (0, "c", None, "{}"), (1, "c", "write", ""), (1, "c", None, "{"), (0, "c", None, " ")],
        [0, 0, 1, 1, 0],
    ),
    "one id for all, at one position": (
        [(0, "c", "read", "{}"), (0, "c", "write", "{"), (0, "c", None, "}")],
        [0, 1, 1],
    ),
    "one id and one tool at two positions": ([(0, "c", "read", '{"p":1}'), (1, "c", "read", '{"p":2}')], [0, 1]),
    "one id and one tool, each announced": (
        [(0, "c", "read", ""), (0, None, None, "{}"), (1, "c", "read", ""), (1, None, None, "{}")],
        [0, 0, 1, 1],
    ),
    "the name and the id in every piece, at positions that count up": (
        [(0, "a", "read", "{"), (1, "a", "read", "}")],
        [0, 0],
    ),
    "no positions": ([(None, "a", "read", "{"), (None, None, None, "}"), (None, "b", "write", "{}")], [0, 0, 1]),
}


@pytest.mark.parametrize("stream", STREAMS)
def test_each_piece_finds_its_call(stream: str) -> None:
    pieces, numbers = STREAMS[stream]

    assert [call.number for call in ToolCalls().find(pieces)] == numbers


def test_each_choice_has_its_own_positions_and_ids() -> None:
    """Calls of all choices are numbered together."""
    calls = ToolCalls()
    piece = (0, "a", "read", "{")
    assert [calls.find([piece], choice)[0].number for choice in (0, 1, 0, 1)] == [0, 1, 0, 1]


def test_a_call_learns_its_id_and_name_when_they_come() -> None:
    (call,) = set(ToolCalls().find([(0, None, None, "{"), (0, "a", "read", "}")]))
    assert (call.call_id, call.name) == ("a", "read")


def test_ids_without_end_are_not_kept_without_end() -> None:
    """A server that invents an id for every piece does not make the call grow."""
    calls = ToolCalls()
    (first,) = calls.find([(0, "first", "read", "")])
    assert set(calls.find([(0, f"id{at}", None, "x") for at in range(10_000)])) == {first}
    assert len(calls._by_id) <= 256  # what must not grow
