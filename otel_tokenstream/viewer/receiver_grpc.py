"""OTLP over gRPC: the three Export services."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from otel_tokenstream.viewer.otlp import MAX_REQUEST_BYTES, SIGNALS, MalformedError, Signal
from otel_tokenstream.viewer.store import NotStoredError, Store

if TYPE_CHECKING:
    from google.protobuf.message import Message


def start(store: Store, port: int) -> tuple[grpc.Server, int]:
    """Listens on 127.0.0.1; returns the server and its port. Raises OSError if the port is taken."""
    server = grpc.server(
        ThreadPoolExecutor(4, thread_name_prefix="viewer-grpc"),
        handlers=[_handler(signal, store) for signal in SIGNALS],
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.so_reuseport", 0),  # on, a second viewer would take half of the requests
        ],
        maximum_concurrent_rpcs=32,
    )
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise OSError(str(error)) from error
    server.start()
    return server, bound


def _handler(signal: Signal, store: Store) -> grpc.GenericRpcHandler:
    def export(body: bytes, context: grpc.ServicerContext) -> Message:
        try:
            # Parsed here, not by a deserializer of gRPC's: that would call a malformed request internal.
            rows = signal.decode(body)
            store.submit(rows).result()
        except MalformedError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except NotStoredError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        return signal.answer(rows.rejected)

    to_bytes = signal.response.SerializeToString
    method: grpc.RpcMethodHandler[bytes, Message] = grpc.unary_unary_rpc_method_handler(
        export, response_serializer=to_bytes
    )
    return grpc.method_handlers_generic_handler(signal.service, {"Export": method})
