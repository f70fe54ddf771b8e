"""lionpride: its endpoints, which speak HTTP themselves. A model's ``invoke`` asks by ``Endpoint.call``."""

from __future__ import annotations

import json
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY
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

_MODULE = "lionpride.services.types.endpoint"


def table(telemetry: Telemetry) -> PatchTable:
    patches = [
        Patch(_MODULE, f"Endpoint.{name}", partial(wrap, telemetry), entries=(PublicEntry(f"Endpoint.{name}"),))
        for name, wrap in (("call", _calling), ("stream", _streaming))
    ]
    return PatchTable(patches, "lionpride")


def _calling(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    return calling(telemetry, original, _api, _request, _raw)


def _streaming(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def stream(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        lines = original(self, request, *args, **kwargs)  # a generator, whose first read asks
        api = guarded(_api)(self)
        if api is None:
            return lines
        with begin(telemetry, partial(_request, api, self, request, kwargs, stream=True)) as call:
            return lines if call is None else hand_over(call, lines, partial(_reader, api), None, streamed=True)

    return stream


def _api(endpoint: Any) -> Endpoint | None:
    return api_of(str(endpoint.full_url))


def _request(api: Endpoint, endpoint: Any, request: Any, options: Mapping[str, Any], *, stream: bool) -> Request:
    given = request if isinstance(request, dict) else request.model_dump(exclude_none=True)
    asked = {**(endpoint.config.kwargs or {}), **given, **options}
    return request_to(api, str(endpoint.full_url), provider_of(endpoint.config.provider), asked, stream=stream)


def _reader(api: Endpoint, call: ModelCall) -> Reader:
    """Read lines of server-sent events; a line that has no data is counted as a chunk without content."""
    read_event = api.reader(call)

    def read(read_started: int, arrived: int, line: Any) -> None:
        event = _event(line)
        if event is None:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)
            return
        if call.response_model is None:
            call.response_model = event.get("model")
        error = event.get("error")
        if error:  # the program is given it as a line like any other
            call.error_type = error_word(get(error, "code"), get(error, "type"))
        read_event(read_started, arrived, parsed(event))

    return read


def _event(line: Any) -> dict[str, Any] | None:
    if not isinstance(line, str) or not line.startswith("data:"):
        return None
    try:
        found = json.loads(line[5:])
    except ValueError:  # the marker of the end
        return None
    return found if isinstance(found, dict) else None


def _raw(answer: Any) -> Any:
    return get(answer, "raw_response")
