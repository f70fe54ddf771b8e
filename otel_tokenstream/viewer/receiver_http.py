"""OTLP over HTTP: protobuf and JSON, plain or compressed."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess

from otel_tokenstream.viewer.intake import Intake, too_many_bytes
from otel_tokenstream.viewer.limits import MalformedError, TooLargeError
from otel_tokenstream.viewer.otlp import SIGNALS, Signal
from otel_tokenstream.viewer.store import NotStoredError

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PROTOBUF = "application/x-protobuf"
_JSON = "application/json"
_BODY_SECONDS = 20.0


def add_routes(app: web.Application, intake: Intake) -> None:
    for signal in SIGNALS:
        app.router.add_post(signal.path, partial(_export, signal, intake))


async def _export(signal: Signal, intake: Intake, request: web.Request) -> web.Response:
    content_type = request.content_type
    if content_type not in {_PROTOBUF, _JSON}:
        return _refusal(415, f"content type {content_type}: send {_PROTOBUF} or {_JSON}", _PROTOBUF)
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip", "deflate"}:
        return _refusal(415, f"content encoding {encoding}: send gzip, deflate or none", content_type)
    try:
        body = await asyncio.wait_for(request.read(), _BODY_SECONDS)
        answer = await intake.take(signal, body, as_json=content_type == _JSON, compressed=encoding != "identity")
    except asyncio.TimeoutError:
        return _refusal(408, f"the body did not come within {_BODY_SECONDS:g} s", content_type)
    except web.HTTPRequestEntityTooLarge:
        return _refusal(413, str(too_many_bytes()), content_type)
    except TooLargeError as error:
        return _refusal(413, str(error), content_type)
    except MalformedError as error:
        return _refusal(400, str(error), content_type)
    except NotStoredError as error:
        return _refusal(503, str(error), content_type)
    return _answer(answer, content_type)


def _answer(answer: Message, content_type: str) -> web.Response:
    if content_type == _JSON:
        return web.json_response(json_format.MessageToDict(answer))
    return web.Response(body=answer.SerializeToString(), content_type=_PROTOBUF)


def _refusal(status: int, message: str, content_type: str) -> web.Response:
    """With a google.rpc.Status in the request's own encoding, as the protocol wants it."""
    headers = {"Retry-After": "1"} if status == 503 else None
    if content_type == _JSON:
        body = json.dumps({"message": message}).encode()
    else:
        # Both carry their text in field 2, and this one does not need another package.
        body = ExportTracePartialSuccess(error_message=message).SerializeToString()
    return web.Response(status=status, body=body, content_type=content_type, headers=headers)
