"""What a stream's events tell about it before, or without, its span."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import integer

if TYPE_CHECKING:
    from otel_tokenstream.viewer.otlp import Attributes

STREAM_EVENTS = frozenset(signals.EVENTS)


@dataclass
class Progress:
    """Facts so far; None where no event told. Adding an event twice changes nothing: exporters retry."""

    chunks: int = 0
    last_us: int = 0
    first_token_us: int | None = None
    first_answer_token_us: int | None = None
    gap_max_us: int | None = None
    wait_max_us: int | None = None
    stalls: dict[str, int] = field(default_factory=dict)
    """Wait of each stall in microseconds, by its offset."""

    @classmethod
    def parse(cls, text: str | None) -> Progress:
        return cls(**json.loads(text)) if text else cls()

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def add(self, name: str, attributes: Attributes) -> None:
        offset = integer(attributes, signals.AT_OFFSET_US)
        if offset is None:
            return
        self.last_us = max(self.last_us, offset)
        if name == signals.FIRST_TOKEN_EVENT:
            self.first_token_us = offset
        elif name == signals.FIRST_ANSWER_TOKEN_EVENT:
            self.first_answer_token_us = offset
        elif name == signals.STALL_EVENT:
            self.stalls[str(offset)] = integer(attributes, signals.AT_WAIT_US) or 0
        elif name == signals.TOKEN_EVENT:
            index = integer(attributes, signals.AT_INDEX) or 0
            count = integer(attributes, signals.AT_COUNT)  # 0 for a further field of the same chunk
            self.chunks = max(self.chunks, index + (1 if count is None else count))
            if index > 0:  # before the first chunk there is a first-token time, not a gap
                self.gap_max_us = _larger(self.gap_max_us, integer(attributes, signals.AT_GAP_US))
                self.wait_max_us = _larger(self.wait_max_us, integer(attributes, signals.AT_WAIT_US))


def fields_of(attribute_sets: list[Attributes], known: list[str] | None = None) -> list[str]:
    """Output fields in the order of their first token."""
    names = dict.fromkeys(known or [])
    for attributes in attribute_sets:
        name = attributes.get(signals.AT_FIELD)
        if isinstance(name, str):
            names[name] = None
    return list(names)


def _larger(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
