"""The wire format of events: flat names and values, the same in Redis and as JSON in RabbitMQ.

A text that is empty and a value that is None are left out. Receivers must ignore names they do
not know: what is added later keeps the version, only a change of meaning raises it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.live.events import TYPES, EndEvent, Event, StepEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VERSION = 1

Flat = dict[str, "str | int"]

ENDS = (EndEvent, StepEnd)

_STREAMS_KEPT = 10_000


class WireError(ValueError):
    """A message is not one of ours, or of a later version. Never quotes the message."""


class Sent(NamedTuple):
    """An event with its place among all that were sent of its stream or step, from 0, without holes."""

    seq: int
    event: Event


class Numbering:
    """Counts the events of each stream, and forgets a stream with its end."""

    def __init__(self) -> None:
        self._next: OrderedDict[str, int] = OrderedDict()

    def __call__(self, event: Event) -> int:
        stream_id = event.stream_id
        number = self._next.pop(stream_id, 0)
        if not isinstance(event, ENDS):
            self._next[stream_id] = number + 1
            if len(self._next) > _STREAMS_KEPT:  # their ends were lost
                self._next.popitem(last=False)
        return number


def flat(sent: Sent) -> Flat:
    event = sent.event
    message: Flat = {"v": VERSION, "type": event.type, "seq": sent.seq}
    for name, shape in _SHAPES_OF[type(event)].items():
        shape.write(message, name, getattr(event, name))
    return message


def event_of(message: Mapping[str, Any]) -> Sent:
    """Read a message, whether its numbers are numbers or digits.

    Raises:
        WireError: it is not one of ours.

    """
    try:
        version, kind = int(message["v"]), TYPES[message["type"]]
        event = kind(**{name: shape.read(message, name) for name, shape in _SHAPES_OF[kind].items()})
        sent = Sent(int(message["seq"]), event)
    except Exception as problem:  # noqa: BLE001  # nested too deeply, infinite: others write here too
        raise WireError(type(problem).__name__) from None
    if version != VERSION:
        raise WireError(version)
    return sent


def to_json(sent: Sent) -> bytes:
    return json.dumps(flat(sent), separators=(",", ":")).encode()


def from_json(body: bytes) -> Sent:
    """Read a message's body.

    Raises:
        WireError: as ``event_of``.

    """
    try:
        message = json.loads(body)
    except Exception as problem:  # noqa: BLE001  # as in event_of
        raise WireError(type(problem).__name__) from None
    if not isinstance(message, dict):
        raise WireError(type(message).__name__)
    return event_of(message)


class _Shape(NamedTuple):
    write: Callable[[Flat, str, Any], None]
    read: Callable[[Mapping[str, Any], str], Any]


def _write_text(message: Flat, name: str, value: str) -> None:
    if value:
        message[name] = value


def _write_known(message: Flat, name: str, value: str | int | None) -> None:
    if value is not None:
        message[name] = value


def _write_truth(message: Flat, name: str, value: bool) -> None:
    message[name] = int(value)


def _write_texts(message: Flat, name: str, value: Mapping[str, str]) -> None:
    message.update({f"{name}.{key}": text for key, text in value.items()})


def _write_values(message: Flat, name: str, value: Mapping[str, Any]) -> None:
    message.update({f"{name}.{key}": json.dumps(each, default=str) for key, each in value.items()})


def _under(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    prefix = f"{name}."
    return {key[len(prefix) :]: value for key, value in message.items() if key.startswith(prefix)}


def _read_texts(message: Mapping[str, Any], name: str) -> dict[str, str]:
    return {key: str(value) for key, value in _under(message, name).items()}


def _read_values(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: json.loads(value) for key, value in _under(message, name).items()}


# By the annotation in the event's class.
_SHAPES = {
    "str": _Shape(_write_text, lambda message, name: str(message.get(name, ""))),
    "str | None": _Shape(_write_known, lambda message, name: str(message[name]) if name in message else None),
    "int": _Shape(_write_known, lambda message, name: int(message[name])),
    "int | None": _Shape(_write_known, lambda message, name: int(message[name]) if name in message else None),
    "bool": _Shape(_write_truth, lambda message, name: bool(int(message[name]))),
    "Mapping[str, str]": _Shape(_write_texts, _read_texts),
    "Mapping[str, Any]": _Shape(_write_values, _read_values),
}


_SHAPES_OF = {kind: {field.name: _SHAPES[str(field.type)] for field in fields(kind)} for kind in TYPES.values()}
