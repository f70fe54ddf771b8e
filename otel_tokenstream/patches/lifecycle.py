"""The life of a model call, the same for every library: it begins, the library makes it, its result is handed over.

    with begin(telemetry, request) as call:
        if call is None:
            return original(*args, **kwargs)
        with Owning(call):
            result = original(*args, **kwargs)
        return hand_over(call, result, reader, read_answer)

How to write the functions that are given here: docs/adding-a-library.md.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from otel_tokenstream.core.call import stream_proxy
from otel_tokenstream.core.call.model_call import COMPLETED, now
from otel_tokenstream.core.call.nesting import aborted, begun, current_call
from otel_tokenstream.core.runtime.guard import fault, guarded
from otel_tokenstream.fields.expected import expected_parser

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.call.stream_proxy import Reader
    from otel_tokenstream.core.emit.telemetry import Telemetry

_parser = guarded(expected_parser)  # the call goes on, and is recorded, without its fields


class begin:  # noqa: N801  # reads as a verb where it is used
    """Begin a model call for the block, and end it with the error of a block that raises.

    The value is None where nothing is recorded: instrumentation is off or suppressed, or the
    library makes this call in order to answer another one. ``request`` is not called then; what
    it raises is logged, and the value is None. With ``fields`` the text of a stream is
    attributed to the output fields that the program expects.
    """

    __slots__ = ("_call", "_fields", "_request", "_since", "_telemetry")

    def __init__(self, telemetry: Telemetry, request: Callable[[], Request], *, fields: bool = False) -> None:
        self._telemetry = telemetry
        self._request = request
        self._fields = fields
        self._call: ModelCall | None = None

    def __enter__(self) -> ModelCall | None:
        self._since = now()
        try:
            self._call = self._begin()
            return self._call  # noqa: TRY300  # a signal handler may raise until here
        except BaseException as error:
            call = begun(self._since)
            if call is not None:
                aborted(call, error)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._call is not None:
            aborted(self._call, error)

    @guarded
    def _begin(self) -> ModelCall | None:
        if current_call() is not None or not is_instrumentation_enabled():
            return None
        call = self._telemetry.start(self._request())
        if call is not None and self._fields and call.request.stream and self._telemetry.settings.fields:
            call.parser = _parser()
        return call


def hand_over(
    call: ModelCall,
    result: Any,
    reader: Callable[[ModelCall], Reader] | None,
    read_answer: Callable[[ModelCall, Any], None] | None,
    finalize: Callable[[ModelCall, Any], None] | None = None,
    *,
    finalize_collected: Callable[[], object] | None = None,
    streamed: bool | None = None,
) -> Any:
    """Return what the program is given for a result: a stream inside a proxy, anything else as it is.

    Args:
        call: the call, which ends here unless the result is a stream.
        result: what the library's function returned.
        reader: makes what reads the chunks of a stream; None where the result cannot be one.
        read_answer: reads an answer that came as a whole; None where the result cannot be one.
        finalize: completes the call from its ended stream or its answer.
        finalize_collected: stands in for ``finalize`` where the garbage collector has found the stream; must not
            hold it.
        streamed: whether the result is a stream; by default, whether it can be iterated by ``next`` or ``anext``.

    """
    call.read_started = 0
    try:
        if streamed if streamed is not None else reader is not None and is_iterator(result):
            if not call.observed or reader is None:
                return stream_proxy.proxy(result, call, None)
            close = None if finalize is None else partial(finalize, call)
            return stream_proxy.proxy(result, call, reader(call), close, finalize_collected)
        if read_answer is not None and call.observed and not stream_proxy.is_mock(result):
            read_answer(call, result)
            if finalize is not None:
                finalize(call, result)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("the result of a call", problem)
    call.end(COMPLETED)
    return result


def is_iterator(result: object) -> bool:
    """Return whether a result can be read by ``next`` or ``anext``."""
    kind = type(result)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")
