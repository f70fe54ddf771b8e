"""OTLP over gRPC: the three Export services."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import grpc

from otel_tokenstream.viewer.limits import MalformedError, TooLargeError
from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES, SIGNALS, Signal
from otel_tokenstream.viewer.store import NotStoredError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.message import Message

    from otel_tokenstream.viewer.intake import Intake
    from otel_tokenstream.viewer.reach import Reach

_MESSAGE_SECONDS = 10.0
_CALLS = 1000
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.so_reuseport", 0),  # on, a second viewer would take half of the requests
    ("grpc.max_concurrent_streams", 100),  # of one connection
    ("grpc.max_connection_idle_ms", 120_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
]


async def start(intake: Intake, port: int, reach: Reach) -> tuple[grpc.aio.Server, int]:
    """Returns the server and its port. Raises OSError if the port is taken."""
    _try_port(reach.host, port)
    # Without a thread a call: calls that never send their message would take all there are.
    server = grpc.aio.server(
        handlers=[_handler(signal, intake, reach) for signal in SIGNALS],
        options=_OPTIONS,
        maximum_concurrent_rpcs=_CALLS,
    )
    try:
        bound = server.add_insecure_port(f"[{reach.host}]:{port}" if ":" in reach.host else f"{reach.host}:{port}")
    except RuntimeError as error:
        raise OSError(str(error)) from error
    await server.start()
    return server, bound


def _try_port(host: str, port: int) -> None:
    # gRPC itself writes of a taken port to stderr.
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind((host, port))


def _handler(signal: Signal, intake: Intake, reach: Reach) -> grpc.GenericRpcHandler:
    # The same on the wire as a unary request, which gRPC would wait for without end before it calls anything.
    async def export(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, Message]) -> Message:
        if not reach.lets_in(_authorization(context)):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "the viewer needs its token: authorization=Bearer TOKEN"
            )
        try:
            body = await asyncio.wait_for(requests.__anext__(), _MESSAGE_SECONDS)
        except asyncio.TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"no message within {_MESSAGE_SECONDS:g} s")
        except StopAsyncIteration:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call without a message")
        try:
            # Parsed there, not by a deserializer of gRPC's: that would call a malformed request internal.
            return await intake.take(signal, body)
        except (MalformedError, TooLargeError) as error:  # RESOURCE_EXHAUSTED would be tried again
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except NotStoredError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    to_bytes = signal.response.SerializeToString
    method: grpc.RpcMethodHandler[bytes, Message] = grpc.stream_unary_rpc_method_handler(
        export, response_serializer=to_bytes
    )
    return grpc.method_handlers_generic_handler(signal.service, {"Export": method})


def _authorization(context: grpc.aio.ServicerContext[bytes, Message]) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == "authorization" and isinstance(value, str):
            return value
    return ""
