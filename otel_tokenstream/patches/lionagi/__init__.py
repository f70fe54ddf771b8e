"""lionagi: its models over HTTP. ``iModel.stream`` tells how a stream ends, the endpoint's own stream the times.

Between the two an event of lionagi's stores an error instead of raising it. Endpoints that run a program
of a provider on this machine are not models of an API, and are left alone.
"""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY
from otel_tokenstream.core.call.layered import Begun, begun_for, hand_over_outer, timing
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.http_apis import api_of, calling, parsed, provider_of, request_to
from otel_tokenstream.patches.lifecycle import begin, hand_over
from otel_tokenstream.patches.openai_shape import error_word, get
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.call.stream_proxy import Reader
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

_MODEL, _ENDPOINT = "lionagi.service.imodel", "lionagi.service.connections.endpoint"


def table(telemetry: Telemetry) -> PatchTable:
    patches = [
        Patch(module, attribute, partial(wrap, telemetry), entries=(PublicEntry(attribute),))
        for module, attribute, wrap in (
            (_MODEL, "iModel.stream", _model_streaming),
            (_ENDPOINT, "Endpoint.stream", _streaming),
            (_ENDPOINT, "Endpoint.call", _calling),
        )
    ]
    return PatchTable(patches, "lionagi")


def _model_streaming(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, api_call: Any = None, **kwargs: Any) -> Any:
        chunks = original(self, api_call, **kwargs)  # a generator, whose first read asks
        api = guarded(_api)(self.endpoint)
        if api is None:
            return chunks
        asked = kwargs if api_call is None else get(api_call, "payload") or {}
        with begin(telemetry, partial(_request, api, self.endpoint, asked, stream=True)) as call:
            if call is None:
                return chunks
            return hand_over_outer(Begun(call, partial(_is, self.endpoint)), chunks, "lionagi's stream")

    return stream


def _is(endpoint: object, other: object) -> bool:
    return other is endpoint


def _streaming(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        chunks = original(self, request, *args, **kwargs)  # a generator, whose first read asks
        api = guarded(_api)(self)
        if api is None:
            return chunks
        begun = begun_for(self)
        if begun is not None:
            return guarded(_timed)(api, begun, chunks) or chunks
        with begin(telemetry, partial(_request, api, self, request, stream=True)) as call:
            return chunks if call is None else hand_over(call, chunks, partial(_reader, api), None, streamed=True)

    return stream


def _timed(api: Endpoint, begun: Begun, chunks: Any) -> Any:
    begun.is_asked = begun.is_read = True
    call = begun.call
    return timing(chunks, call, _reader(api, call) if call.observed else None, _nothing)


def _nothing(_: BaseException | None) -> None:
    pass


def _calling(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    return calling(telemetry, original, _api, _request, _itself)


def _itself(answer: Any) -> Any:
    return answer


def _api(endpoint: Any) -> Endpoint | None:
    return None if endpoint.is_cli else api_of(str(endpoint.config.full_url))


def _request(api: Endpoint, endpoint: Any, request: Any, _: object = None, *, stream: bool) -> Request:
    config = endpoint.config
    given: Mapping[str, Any] = request if isinstance(request, dict) else request.model_dump(exclude_none=True)
    asked = {**(config.kwargs or {}), **given}
    return request_to(api, str(config.full_url), provider_of(config.provider), asked, stream=stream)


def _reader(api: Endpoint, call: ModelCall) -> Reader:
    """Read lionagi's chunks, each of which has the provider's event."""
    read_event = api.reader(call)

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        about = get(chunk, "metadata") or {}
        event = about.get("raw")
        if isinstance(event, dict):
            if call.response_model is None:
                call.response_model = event.get("model")
            read_event(read_started, arrived, parsed(event))
        else:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)
        if about.get("call_failed") and call.error_type is None:  # under an answer that began well
            call.error_type = error_word(get(get(event, "error"), "type"), get(event, "type"))

    return read
