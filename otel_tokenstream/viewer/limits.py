"""How much one request may hold. A few bytes can stand for a large object: 15 kB of gzip for 8 million span events."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.message import Message

MAX_FIELDS = 1_000_000
"""Of a protobuf message and all within it. 512 spans with all they may carry at default settings have half of that."""

MAX_JSON_CONTAINERS = 300_000
"""Objects and arrays; protobuf's reader of JSON takes ten times as long for one as that of its own encoding."""

MAX_ROWS = 200_000
"""Spans, span events, links, log records and data points."""

MAX_BUCKETS = 4_000
"""Of one data point of a histogram."""

_SMALLEST_FIELD = 2  # bytes: tag and length
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)


class MalformedError(ValueError):
    """The request is not the OTLP message it should be; the text says what is wrong with it."""


class TooLargeError(ValueError):
    """The request holds more than is taken at once; the text says of what."""

    def __init__(self, most: int, of: str) -> None:
        super().__init__(f"more than {most} {of} in one request; let the exporter send smaller batches")


def check_protobuf(body: bytes, message: type[Message]) -> None:
    """Count fields before the message is built: each empty submessage of 2 bytes would take some 60.

    Raises TooLargeError, MalformedError.
    """
    if len(body) <= MAX_FIELDS * _SMALLEST_FIELD:
        return
    try:
        _count(body, _submessages(message.DESCRIPTOR))
    except IndexError as error:
        raise MalformedError(_CUT) from error


_CUT = "not a protobuf message: it ends within a field"


def _count(body: bytes, known: dict[int, Any]) -> None:
    left = MAX_FIELDS
    position, end = 0, len(body)
    outer: list[tuple[int, int, dict[int, Any]]] = []
    while True:
        while position < end:
            left -= 1
            if left < 0:
                raise TooLargeError(MAX_FIELDS, "fields")
            tag, position = _varint(body, position)
            kind = tag & 7
            if kind == _BYTES:
                length, position = _varint(body, position)
                if position + length > end:
                    raise MalformedError(_CUT)
                inner = known.get(tag >> 3)
                if inner is not None and length:
                    outer.append((position + length, end, known))
                    end, known = position + length, _submessages(inner)
                else:
                    position += length
            elif kind == _VARINT:
                while body[position] & 0x80:
                    position += 1
                position += 1
            elif kind in {_FIXED64, _FIXED32}:
                position += 8 if kind == _FIXED64 else 4
            elif kind not in {_GROUP, _GROUP_END}:  # what is in a group counts as if it were beside it
                message = f"not a protobuf message: wire type {kind}"
                raise MalformedError(message)
        if not outer:
            return
        position, end, known = outer.pop()


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = body[position]
    if value < 0x80:
        return value, position + 1
    value &= 0x7F
    shift = 0
    while True:
        position += 1
        shift += 7
        byte = body[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        if shift > 63:
            raise MalformedError(_CUT)


@cache
def _submessages(descriptor: Any) -> dict[int, Any]:
    return {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}


def check_json(body: bytes) -> None:
    """Raises TooLargeError. Braces and commas within texts count too, which the limits leave room for."""
    if body.count(b"{") + body.count(b"[") > MAX_JSON_CONTAINERS:
        raise TooLargeError(MAX_JSON_CONTAINERS, "objects and arrays")
    if body.count(b",") > MAX_FIELDS:
        raise TooLargeError(MAX_FIELDS, "values")


def give_memory_back() -> None:
    """After a large request: glibc keeps what threads have freed, until it is asked for it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # musl has none
            trim(0)
