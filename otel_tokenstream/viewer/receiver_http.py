"""OTLP over HTTP: protobuf and JSON, plain or compressed."""

from __future__ import annotations

import asyncio
import json
import zlib
from functools import partial

from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess

from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES, SIGNALS, MalformedError, Rows, Signal
from otel_tokenstream.viewer.store import NotStoredError, Store

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib's own sign for "tell them apart by the header"


def add_routes(app: web.Application, store: Store) -> None:
    for signal in SIGNALS:
        app.router.add_post(signal.path, partial(_export, signal, store))


async def _export(signal: Signal, store: Store, request: web.Request) -> web.Response:
    content_type = request.content_type
    if content_type not in {_PROTOBUF, _JSON}:
        return _refusal(415, f"content type {content_type}: send {_PROTOBUF} or {_JSON}", _PROTOBUF)
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return _refusal(413, _TOO_LARGE, content_type)
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip", "deflate"}:
        return _refusal(415, f"content encoding {encoding}: send gzip, deflate or none", content_type)
    try:
        rows = await asyncio.to_thread(_decode, signal, body, encoding, content_type)
        await asyncio.wrap_future(store.submit(rows))
    except _TooLargeError:
        return _refusal(413, _TOO_LARGE, content_type)
    except MalformedError as error:
        return _refusal(400, str(error), content_type)
    except NotStoredError as error:
        return _refusal(503, str(error), content_type)
    answer = signal.answer(rows.rejected)
    if content_type == _JSON:
        return web.json_response(json_format.MessageToDict(answer))
    return web.Response(body=answer.SerializeToString(), content_type=_PROTOBUF)


class _TooLargeError(ValueError):
    pass


_TOO_LARGE = f"more than {MAX_REQUEST_BYTES} bytes in one request; let the exporter send smaller batches"


def _decode(signal: Signal, body: bytes, encoding: str, content_type: str) -> Rows:
    plain = body if encoding == "identity" else _decompress(body)
    return signal.decode(plain, as_json=content_type == _JSON)


def _decompress(body: bytes) -> bytes:
    """Stops one byte above the limit, however much the rest would swell to."""
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = stream.decompress(body, MAX_REQUEST_BYTES + 1)
    except zlib.error as error:
        message = f"the body is not what Content-Encoding says: {error}"
        raise MalformedError(message) from error
    if len(plain) > MAX_REQUEST_BYTES:
        raise _TooLargeError
    if not stream.eof:
        message = "the compressed body ends too early"
        raise MalformedError(message)
    return plain


def _refusal(status: int, message: str, content_type: str) -> web.Response:
    """With a google.rpc.Status in the request's own encoding, as the protocol wants it."""
    headers = {"Retry-After": "1"} if status == 503 else None
    if content_type == _JSON:
        body = json.dumps({"message": message}).encode()
    else:
        # Both carry their text in field 2, and this one does not need another package.
        body = ExportTracePartialSuccess(error_message=message).SerializeToString()
    return web.Response(status=status, body=body, content_type=content_type, headers=headers)
