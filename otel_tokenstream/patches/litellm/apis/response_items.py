"""The output items of the Responses API: which one an event is about, and how much of it was told already."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.core.call.chunk_kinds import AUDIO, IMAGE, OTHER, REASONING, REFUSAL, TEXT, TOOL_CALL, TOOL_RESULT
from otel_tokenstream.core.content.messages import call_arguments
from otel_tokenstream.patches.openai_shape import get

if TYPE_CHECKING:
    from collections.abc import Iterator

# Which field of a call has its arguments.
_WRITTEN = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}
_RESULTS = ("output", "outputs", "results", "result", "error")
# Calls that the program has to answer.
_FOR_THE_PROGRAM = (
    "function_call",
    "custom_tool_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
)
# Items that nobody generated.
_LISTS = ("mcp_list_tools",)
_MESSAGE_TEXTS = (("text", "text", TEXT), ("refusal", "refusal", REFUSAL), ("transcript", "audio", AUDIO))
_REASONING_TEXTS = (("summary", "summary"), ("content", "reasoning"))

Part = tuple[str, int]  # which text of an item: its family, and its position among those


class Value(NamedTuple):
    """A text of an item, as a whole."""

    part: Part
    kind: str
    text: str


class Item:
    """One item of the output; ``said`` has the characters told so far of each of its texts."""

    __slots__ = ("announced", "call_id", "done", "name", "number", "said", "shown", "type", "with_result")

    def __init__(self, number: int) -> None:
        self.number = number
        self.type = ""
        self.call_id: str | None = None
        self.name: str | None = None
        self.said: dict[Part, int] = {}
        self.announced = self.shown = self.done = self.with_result = False

    @property
    def is_for_the_program(self) -> bool:
        return self.type in _FOR_THE_PROGRAM

    def add(self, part: Part, characters: int) -> None:
        self.said[part] = self.said.get(part, 0) + characters

    def rest(self, value: Value) -> str:
        """Return what was not told yet of a whole text, and count it as told."""
        told = self.said.get(value.part, 0)
        if value.kind == REASONING and any(part[0] != value.part[0] for part in self.said):
            return ""  # streamed as a summary and repeated as content, or the other way round
        self.said[value.part] = max(told, len(value.text))
        return value.text[told:]

    def is_all_in(self, said: Any) -> bool:
        """Return whether a whole item says at least what was told."""
        whole = {value.part: len(value.text) for value in values(said)}
        return self.with_result <= has_result(said) and all(
            whole.get(part, 0) >= told for part, told in self.said.items()
        )

    def takes(self, kind: str, call_id: object, *, begins: bool) -> bool:
        """Return whether an event with an unknown id at this position is about this item: bridges give other ids."""
        if self.done or (begins and self.announced) or (self.call_id and call_id and call_id != self.call_id):
            return False
        return not kind or not self.type or kind == self.type


class Items:
    """The items of one stream. An id comes before a position: some gateways put all items at position 0."""

    def __init__(self) -> None:
        self.all: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._at: dict[int, Item] = {}
        # Where the items of the newest response begin.
        self._since = 0

    def of_another_response(self) -> None:
        """Take the items that follow for new ones: another response goes on where the first one broke."""
        self._by_id.clear()
        self._at.clear()
        self._since = len(self.all)

    @property
    def _newest(self) -> list[Item]:
        return self.all[self._since :]

    def of(self, event: Any, kind: str) -> Item:
        """Return the item that an event about a part of it names."""
        item_id = get(event, "item_id")
        known = self._by_id.get(item_id) if isinstance(item_id, str) else None
        if known is not None and (not kind or known.type in ("", kind)):
            return known
        return self._find(get(event, "output_index"), None if known is not None else item_id, kind)

    def whole(self, index: Any, said: Any, *, begins: bool = False) -> Item:
        """Return the item that an event has as a whole."""
        item = self._find(
            index, get(said, "id"), str(get(said, "type") or ""), get(said, "call_id") or None, begins=begins
        )
        return _noted(item, said)

    def last(self, said: Any, matched: set[int]) -> Item:
        """Return the item that stands in the answer at the end, which may have ids of its own, and leave others out."""
        call_id, kind = get(said, "call_id"), str(get(said, "type") or "")
        ids = (get(said, "id"), call_id)
        known = [self._by_id[each] for each in ids if isinstance(each, str) and each in self._by_id]
        alike = [
            each for each in self._newest if each.type == kind and (not call_id or each.call_id in (None, call_id))
        ]
        item = next((item for item in (*known, *alike) if item.number not in matched), None) or self._new()
        matched.add(item.number)
        return _noted(item, said)

    def _find(self, index: Any, item_id: Any, kind: str, call_id: Any = None, *, begins: bool = False) -> Item:
        names = [each for each in (item_id, call_id) if isinstance(each, str) and each]
        here = self._at.get(index) if isinstance(index, int) else next(iter(self._newest[-1:]), None)
        item = self._by_id.get(names[0]) if names else None
        if item is None and call_id in self._by_id:
            # Some gateways give one id to all calls.
            called = self._by_id[call_id]
            item = called if called.takes(kind, call_id, begins=begins) or (called is here and not begins) else None
        elif item is None and here is not None and here.takes(kind, call_id, begins=begins):
            item = here
        item = item or self._new()
        self._by_id.update((each, item) for each in names)
        if isinstance(index, int):
            self._at[index] = item
        item.type = item.type or kind
        return item

    def _new(self) -> Item:
        self.all.append(Item(len(self.all)))
        return self.all[-1]


def _noted(item: Item, said: Any) -> Item:
    kind = str(get(said, "type") or "")
    item.type = item.type or kind
    if kind.endswith("_call"):
        item.call_id = item.call_id or get(said, "call_id") or get(said, "id")
        item.name = item.name or get(said, "name") or kind
    return item


def is_call(said: Any) -> bool:
    """Return whether the arguments of an item come in deltas, after its name."""
    return get(said, "type") in _WRITTEN


def values(said: Any) -> list[Value]:
    """Return the texts of a whole item."""
    return list(_values(said, str(get(said, "type") or "")))


def _values(said: Any, kind: str) -> Iterator[Value]:
    if kind == "message":
        for index, part in enumerate(get(said, "content") or ()):
            for name, family, of in _MESSAGE_TEXTS:
                text = get(part, name)
                if isinstance(text, str):
                    yield Value((family, index), of, text)
    elif kind == "reasoning":
        for field, family in _REASONING_TEXTS:
            for index, part in enumerate(get(said, field) or ()):
                text = get(part, "text")
                if isinstance(text, str):
                    yield Value((family, index), REASONING, text)
    elif kind in _WRITTEN:
        text = get(said, _WRITTEN[kind])
        if isinstance(text, str):
            yield Value(("call", 0), TOOL_CALL, text)
    elif kind.endswith("_call") and kind != "image_generation_call":
        given = call_arguments(said)
        text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False, default=str) if given else ""
        yield Value(("call", 0), TOOL_CALL, text)


def has_result(said: Any) -> bool:
    return result_of(said) is not None


def result_of(said: Any) -> Any:
    """Return what a hosted tool gave, which stands in the item of its call; None where there is nothing."""
    return next((value for name in _RESULTS if (value := get(said, name))), None)


def kind_of_whole(said: Any) -> str | None:
    """Return the kind of an item that has no texts to tell; None where nothing was generated."""
    kind = str(get(said, "type") or "")
    if kind in ("", "message", "reasoning", *_LISTS):
        return None
    if kind == "image_generation_call":
        return IMAGE
    return TOOL_RESULT if kind.endswith("_output") else OTHER
