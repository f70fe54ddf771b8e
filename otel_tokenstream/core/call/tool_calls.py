"""Assign the pieces of a stream to its tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# A piece of a tool call: its position among the calls, id, name, and this part of its arguments.
ToolCallPiece = tuple["int | None", "str | None", "str | None", str]

_IDS_KEPT = 256


class ToolCall:
    """One tool call of a stream: its number among all, from 0, and its id and name once they are known."""

    __slots__ = ("_last", "call_id", "name", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.call_id: str | None = None
        self.name: str | None = None
        self._last = ""  # of its arguments so far, blanks aside

    def add(self, call_id: str | None, name: str | None, arguments: str) -> None:
        self.call_id = self.call_id or call_id
        self.name = self.name or name
        self._last = arguments.rstrip()[-1:] or self._last

    def is_followed_by(self, call_id: str | None, name: str | None, arguments: str) -> bool:
        """Return whether a piece at this call's position, with a new id or none, begins another call."""
        if call_id and self.call_id:
            # vLLM used to invent an id for every piece of a call: such a piece has arguments and no name.
            return bool(name) or not arguments or self._is_whole(arguments)
        return bool(name and self.name) and (name != self.name or self._is_whole(arguments))

    def shares_its_id(self, name: str | None, arguments: str, *, elsewhere: bool) -> bool:
        """Return whether a piece of this call's id, at another position if ``elsewhere``, still begins another call."""
        anew = self._is_whole(arguments) or (self._last == "}" and not arguments)
        return bool(name and self.name) and (name != self.name or (elsewhere and anew))

    def _is_whole(self, arguments: str) -> bool:
        """Return whether one object has ended where another one begins."""
        return self._last == "}" and arguments.lstrip().startswith("{")


class ToolCalls:
    """Numbers the tool calls of a stream in the order in which they begin.

    A call is known by its choice and id. Positions alone are not enough: some gateways put every
    call at position 0. Ids alone are not either: they may come once, late, never, or be the same for all.
    """

    __slots__ = ("_at", "_by_id", "_count", "_latest")

    def __init__(self) -> None:
        self._at: dict[tuple[int, int], ToolCall] = {}
        self._by_id: dict[tuple[int, str], ToolCall] = {}
        self._latest: dict[int, ToolCall] = {}
        self._count = 0

    def find(self, pieces: Sequence[ToolCallPiece], choice: int = 0) -> list[ToolCall]:
        """Return the call that each piece belongs to."""
        return [self._find(choice, *piece) for piece in pieces]

    def _find(
        self, choice: int, position: int | None, call_id: str | None, name: str | None, arguments: str
    ) -> ToolCall:
        there = self._latest.get(choice) if position is None else self._at.get((choice, position))
        known = self._by_id.get((choice, call_id)) if call_id else None
        if known is not None and not known.shares_its_id(name, arguments, elsewhere=there is not known):
            call = known if there is None or there.call_id != call_id else there
        else:
            call = there if there is not None and known is None else self._begin()
            if known is None and call.is_followed_by(call_id, name, arguments):
                call = self._begin()
            if call_id:
                self._remember((choice, call_id), call)
        call.add(call_id, name, arguments)
        self._latest[choice] = call
        if position is not None:
            self._at[choice, position] = call
        return call

    def _begin(self) -> ToolCall:
        call = ToolCall(self._count)
        self._count += 1
        return call

    def _remember(self, key: tuple[int, str], call: ToolCall) -> None:
        if len(self._by_id) == _IDS_KEPT:
            del self._by_id[next(iter(self._by_id))]
        self._by_id[key] = call
