"""Knowledge of a stream from its events, before or without its span."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.analysis.attributes import LARGEST, integer

if TYPE_CHECKING:
    from otel_tokenstream.viewer.otlp import Attributes

STREAM_EVENTS = frozenset(signals.EVENTS)

_MOST_STALLS = 256
_MOST_FIELDS = 64
_LONGEST_NAME = 256


@dataclass
class Progress:
    """Facts so far; None where no event told. Adding an event twice changes nothing: exporters retry.

    ``last_us`` is the newest moment that was told of, ``arrived_us`` the newest arrival.
    """

    chunks: int = 0
    last_us: int = 0
    arrived_us: int = 0
    opened_us: int | None = None
    first_read_us: int | None = None
    first_token_us: int | None = None
    first_answer_token_us: int | None = None
    gap_max_us: int | None = None
    wait_max_us: int | None = None
    stalls: dict[str, int] = field(default_factory=dict)
    """Wait of each stall in microseconds, by the index of the chunk that was waited for; of the first so many."""
    blocked_us: int | None = None
    """Since when the newest read was blocked that was told of while it lasted."""
    blocked_index: int = 0
    """Of the chunk it waits for: when that one has come, the read is over."""

    @classmethod
    def parse(cls, text: str | None) -> Progress:
        """Read the text that ``dump`` wrote; parts that cannot be used are left out."""
        found: Any = json.loads(text) if text else {}
        stalls: Any = found.get("stalls") or {}
        return cls(
            integer(found, "chunks") or 0,
            integer(found, "last_us") or 0,
            integer(found, "arrived_us") or 0,
            integer(found, "opened_us"),
            integer(found, "first_read_us"),
            integer(found, "first_token_us"),
            integer(found, "first_answer_token_us"),
            integer(found, "gap_max_us"),
            integer(found, "wait_max_us"),
            {index: integer(stalls, index) or 0 for index in stalls},
            integer(found, "blocked_us"),
            integer(found, "blocked_index") or 0,
        )

    def dump(self) -> str:
        return json.dumps(asdict(self))

    def add(self, name: str, attributes: Attributes) -> None:
        offset = integer(attributes, signals.AT_OFFSET_US)
        if offset is None:
            return
        self.last_us = max(self.last_us, offset)
        if name == signals.OPENED_EVENT:
            self.opened_us = offset
        elif name == signals.FIRST_READ_EVENT:
            self.first_read_us = offset
        elif name == signals.FIRST_TOKEN_EVENT:
            self.first_token_us = offset
        elif name == signals.FIRST_ANSWER_TOKEN_EVENT:
            self.first_answer_token_us = offset
        elif name == signals.STALL_EVENT:
            self._add_stall(attributes, offset)
        elif name == signals.TOKEN_EVENT:
            index = integer(attributes, signals.AT_INDEX) or 0
            self.arrived_us = max(self.arrived_us, offset)
            count = integer(attributes, signals.AT_COUNT)  # 0 for a further field of the same chunk
            self.chunks = min(max(self.chunks, index + (1 if count is None else count)), LARGEST)
            if index > 0:  # before the first chunk there is a first-token time, not a gap
                self.gap_max_us = _larger(self.gap_max_us, integer(attributes, signals.AT_GAP_US))
                self.wait_max_us = _larger(self.wait_max_us, integer(attributes, signals.AT_WAIT_US))

    def _add_stall(self, attributes: Attributes, offset: int) -> None:
        """Add a stall that is over, or a read that is blocked: that one's record has a phase, and the wait so far."""
        wait = integer(attributes, signals.AT_WAIT_US) or 0
        index = integer(attributes, signals.AT_INDEX) or 0
        phase = attributes.get(signals.AT_PHASE)
        if phase is not None and index >= self.blocked_index:
            self.blocked_us, self.blocked_index = max(offset - wait, 0), index
        if phase == "first_token":
            return
        self.arrived_us = max(self.arrived_us, offset - (integer(attributes, signals.AT_GAP_US) or 0))
        key = str(index)
        if key in self.stalls or len(self.stalls) < _MOST_STALLS:
            self.stalls[key] = max(self.stalls.get(key, 0), wait)
        self.wait_max_us = _larger(self.wait_max_us, wait)

    @property
    def blocked_since_us(self) -> int | None:
        """When the read was asked for that is blocked now, as far as is known; None if none is known to be."""
        if self.blocked_us is not None and self.chunks <= self.blocked_index:
            return self.blocked_us
        return self.first_read_us if not self.chunks else None


def fields_of(attribute_sets: list[Attributes], known: list[str] | None = None) -> list[str]:
    """Output fields in the order of their first token; the first so many."""
    names = dict.fromkeys(known or [])
    for attributes in attribute_sets:
        name = attributes.get(signals.AT_FIELD)
        if isinstance(name, str) and len(names) < _MOST_FIELDS:
            names[shortened(name)] = None
    return list(names)


def shortened(name: str) -> str:
    """For columns that every list shows; the attribute has the whole name."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _larger(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)
