"""From a request's body to rows in the store, for both receivers: off the page's thread, and only so much at once."""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from otel_tokenstream.viewer.limits import MalformedError, TooLargeError, give_memory_back
from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES
from otel_tokenstream.viewer.store import NotStoredError, Store

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from otel_tokenstream.viewer.otlp import Rows, Signal

_AT_ONCE = 2
_WAITING_BYTES = 64 * 2**20
_LARGE_BYTES = 2**18
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib's own sign for "tell them apart by the header"
_GZIP = b"\x1f\x8b"
_MEMBERS = 64


def too_many_bytes() -> TooLargeError:
    return TooLargeError(MAX_REQUEST_BYTES, "bytes")


class Intake:
    """Belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="viewer-decode")
        self._waiting_bytes = 0

    async def take(self, signal: Signal, body: bytes, *, as_json: bool = False, compressed: bool = False) -> Message:
        """Store a request; return its answer.

        Raises MalformedError and TooLargeError, after which trying again is in vain, and NotStoredError.
        """
        if self._waiting_bytes and self._waiting_bytes + len(body) > _WAITING_BYTES:
            message = f"{self._waiting_bytes} bytes wait to be read"
            raise NotStoredError(message)
        self._waiting_bytes += len(body)
        try:
            loop = asyncio.get_running_loop()
            rows = await loop.run_in_executor(self._pool, _rows, signal, body, as_json, compressed)
        finally:
            self._waiting_bytes -= len(body)
        rejected = await asyncio.wrap_future(self._store.submit(rows))
        return signal.answer(rows.rejected + rejected)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _rows(signal: Signal, body: bytes, as_json: bool, compressed: bool) -> Rows:
    plain = decompressed(body) if compressed else body
    large = len(plain) > _LARGE_BYTES
    try:
        return signal.decode(plain, as_json=as_json)
    finally:
        del plain
        if large:
            give_memory_back()


def decompressed(body: bytes) -> bytes:
    """Stops one byte above the limit, however much the rest would swell to.

    gzip may have several members one after the other; anything else behind the end is refused.
    """
    found: list[bytes] = []
    room = MAX_REQUEST_BYTES + 1
    rest = body
    for _ in range(_MEMBERS):
        stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            plain = stream.decompress(rest, room)
        except zlib.error as error:
            message = f"the body is not what Content-Encoding says: {error}"
            raise MalformedError(message) from error
        room -= len(plain)
        if not room:
            raise too_many_bytes()
        if not stream.eof:
            message = "the compressed body ends too early"
            raise MalformedError(message)
        found.append(plain)
        gzipped, rest = rest.startswith(_GZIP), stream.unused_data
        if not rest:
            return b"".join(found)
        if not (gzipped and rest.startswith(_GZIP)):
            break
    message = f"there are bytes behind the end of the compressed body, or more than {_MEMBERS} members of gzip"
    raise MalformedError(message)
