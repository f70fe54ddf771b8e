"""By what streams are told apart: the words of ``--by``, ``--where`` and ``--compare``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otel_tokenstream.analysis.stream import Field, Stream

DIMENSIONS: dict[str, Callable[[Stream], str | None]] = {
    "operation": lambda stream: stream.operation,
    "model": lambda stream: stream.model,
    "provider": lambda stream: stream.provider,
    "service": lambda stream: stream.service,
    "outcome": lambda stream: stream.outcome,
    "error": lambda stream: stream.error_type,
    "stream": lambda stream: "true" if stream.streamed else "false",
    "module": lambda stream: stream.module,
    "field": lambda stream: stream.field,
}

ALIASES = {
    "conversation": signals.CONVERSATION_ID,
    "user": signals.USER_ID,
    "request": signals.REQUEST_ID,
    "version": "service.version",
    "finish_reason": signals.FINISH_REASONS,
    "response_model": signals.RESPONSE_MODEL,
}
"""Short names of attributes; every other attribute is named in full."""


def dimension(word: str) -> str:
    """The word, or the attribute it stands for. Raises ValueError."""
    if not _is_dimension(word):
        known = ", ".join([*DIMENSIONS, *ALIASES])
        message = (
            f"{word!r} is nothing streams are told apart by; take one of {known}, or an attribute by its full name"
        )
        raise ValueError(message)
    return ALIASES.get(word, word)


def _is_dimension(word: str) -> bool:
    return word in DIMENSIONS or word in ALIASES or "." in word


def value(stream: Stream, name: str) -> str | None:
    return DIMENSIONS[name](stream) if name in DIMENSIONS else stream.attributes.get(name)


@dataclass(frozen=True)
class Condition:
    """``name=value``; several with commas between hold together. An empty value finds streams without one.

    A value may have commas of its own, as several finish reasons have: a part that begins with no known name goes on
    with the value before it.
    """

    text: str
    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises ValueError."""
        parts: list[tuple[str, str]] = []
        for part in text.split(","):
            word, equals, wanted = part.partition("=")
            if parts and not (equals and _is_dimension(word.strip())):
                name, begun = parts[-1]
                parts[-1] = (name, f"{begun},{part.rstrip()}")
                continue
            if not equals:
                message = f"{part!r} is no condition; write it like model=gpt-4o"
                raise ValueError(message)
            parts.append((dimension(word.strip()), wanted.strip()))
        return cls(text, tuple(parts))

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.parts]

    def holds(self, stream: Stream) -> bool:
        return all((value(stream, name) or "") == wanted for name, wanted in self.parts)


def attributes_of(names: Iterable[str]) -> list[str]:
    """Return the attributes that a Recording must keep."""
    return [name for name in dict.fromkeys(names) if name not in DIMENSIONS]


def divided(streams: Sequence[Stream], names: Iterable[str]) -> list[Stream]:
    """Each stream's output fields as streams of their own, if fields are asked about."""
    if "field" not in names:
        return list(streams)
    return [_within(stream, field) for stream in streams for field in stream.fields]


def _within(stream: Stream, field: Field) -> Stream:
    """Measures of one field, from its first content to its last; measures of the whole stream are None."""
    first = field.first_token_ms
    return replace(
        stream,
        field=field.name,
        duration_ms=field.last_token_ms - first if first is not None else None,
        first_token_ms=first,
        first_answer_token_ms=None,
        gaps_us=field.gaps_us,
        chars=field.chars,
        chunks=None,
        input_tokens=None,
        output_tokens=None,
        output_rate=None,
        gap_p50_ms=None,
        gap_p95_ms=None,
        gap_max_ms=None,
        opening_ms=None,
        wait_total_ms=None,
        wait_max_ms=None,
        consumer_total_ms=None,
        stall_count=None,
        stall_total_ms=None,
        cost_usd=None,
    )
