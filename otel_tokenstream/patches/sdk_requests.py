"""The SDKs of OpenAI and Anthropic, which are made by one generator: all their methods make a request by one function.

Every way to ask passes through ``SyncAPIClient.request`` or its async twin: each API, the ``.stream()`` helpers, raw
responses, clients of other clouds. Retries are inside it, so they are part of one call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.dropping import watch
from otel_tokenstream.core.call.model_call import COMPLETED, now
from otel_tokenstream.core.call.nesting import CallScope, call_being_read
from otel_tokenstream.core.call.stream_proxy import is_proxy
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches import raw_responses, sdk_facts
from otel_tokenstream.patches.http_apis import parsed, request_to
from otel_tokenstream.patches.lifecycle import begin, hand_over, is_iterator
from otel_tokenstream.patches.raw_responses import at_last_byte, is_raw, when_closed, when_parsed
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Request
    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

# What the SDKs put where the program gave nothing.
_NOTHING = ("NotGiven", "Omit")


@dataclass(frozen=True)
class Sdk:
    """One SDK: its package, its APIs by their path, and who is asked by a client."""

    package: str
    apis: Mapping[str, Endpoint]
    provider: Callable[[Any], str]


def patches(telemetry: Telemetry, sdk: Sdk) -> Iterator[Patch]:
    for client, wrap in (("SyncAPIClient", _requesting), ("AsyncAPIClient", _arequesting)):
        entry = PublicEntry(f"{sdk.package}, {'async' if client.startswith('A') else 'sync'}")
        wrapped = partial(wrap, telemetry, sdk)
        yield Patch(f"{sdk.package}._base_client", f"{client}.request", wrapped, after=sdk.package, entries=(entry,))
    yield from sdk_facts.patches(sdk.package)
    yield from raw_responses.patches(sdk.package)


def _requesting(telemetry: Telemetry, sdk: Sdk, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        api = guarded(_api)(sdk, options)
        if api is None:
            return original(self, cast_to, options, *args, **kwargs)
        with _beginning(telemetry, sdk, api, self, options, kwargs) as call:
            if call is None:
                above = sdk_facts.call_above()
                with sdk_facts.Requests(above, above=True):
                    result = original(self, cast_to, options, *args, **kwargs)
                if above is not None:
                    sdk_facts.tell_above(above, result)
                return result
            with _reading_refused(api, call), CallScope(call), sdk_facts.Requests(call, above=False):
                result = original(self, cast_to, options, *args, **kwargs)
            return _handed_over(api, call, result)

    return request


def _arequesting(telemetry: Telemetry, sdk: Sdk, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def request(self: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
        api = guarded(_api)(sdk, options)
        if api is None:
            return await original(self, cast_to, options, *args, **kwargs)
        with _beginning(telemetry, sdk, api, self, options, kwargs) as call:
            if call is None:
                above = sdk_facts.call_above()
                with sdk_facts.Requests(above, above=True):
                    result = await original(self, cast_to, options, *args, **kwargs)
                if above is not None:
                    sdk_facts.tell_above(above, result)
                return result
            with _reading_refused(api, call), CallScope(call), sdk_facts.Requests(call, above=False):
                result = await original(self, cast_to, options, *args, **kwargs)
            return _handed_over(api, call, result)

    return request


def _beginning(
    telemetry: Telemetry, sdk: Sdk, api: Endpoint, client: Any, options: Any, kwargs: Mapping[str, Any]
) -> AbstractContextManager[ModelCall | None]:
    if call_being_read() is not None:  # litellm's text completions ask in their first read
        return nullcontext()
    return begin(telemetry, partial(_request, sdk, api, client, options, kwargs), fields=api.fields)


def _api(sdk: Sdk, options: Any) -> Endpoint | None:
    if str(options.method).lower() != "post" or not isinstance(options.json_data, Mapping):
        return None
    return sdk.apis.get(str(options.url).partition("?")[0])


def _request(sdk: Sdk, api: Endpoint, client: Any, options: Any, kwargs: Mapping[str, Any]) -> Request:
    asked = {name: value for name, value in options.json_data.items() if type(value).__name__ not in _NOTHING}
    extra = getattr(options, "extra_json", None)
    asked.update(extra if isinstance(extra, Mapping) else {})
    return request_to(api, str(client.base_url), sdk.provider(client), asked, stream=kwargs.get("stream") is True)


def _handed_over(api: Endpoint, call: ModelCall, result: Any) -> Any:
    if not is_raw(result):  # the answer itself, or its stream
        return hand_over(call, result, api.reader, api.read_answer)
    if call.request.stream:
        guarded(_hand_over_when_parsed)(api, call, result)
        return result
    if call.observed:
        guarded(_read_body)(api, call, result.http_response)
    call.read_started = 0
    call.end(COMPLETED)
    return result


@contextmanager
def _reading_refused(api: Endpoint, call: ModelCall) -> Iterator[None]:
    """Read the answer that an error holds: ``parse`` refuses one that was cut, which was made and paid for."""
    try:
        yield
    except Exception as error:
        answer = getattr(error, "completion", None)
        if answer is not None:
            guarded(api.read_answer)(call, answer)
        raise


def _read_body(api: Endpoint, call: ModelCall, response: Any) -> None:
    """Read a raw answer, where its body is there already."""
    if response.is_stream_consumed:
        api.read_answer(call, parsed(json.loads(response.content)))


def _hand_over_when_parsed(api: Endpoint, call: ModelCall, response: Any) -> None:
    """Let a raw response give its stream inside a proxy, and end the call where it is left without."""
    call.read_started = 0
    read_at: list[int] = []
    unparsed = _Unparsed(api, call, read_at)
    when_parsed(response, unparsed.parsed)
    when_closed(response, unparsed.closed)
    at_last_byte(response.http_response, lambda: read_at.append(now()))
    completed = partial(_completed, call, read_at)
    watch(unparsed, None, call, lambda _: completed(), completed)


def _completed(call: ModelCall, read_at: Sequence[int]) -> None:
    """End the call where all bytes were read, at the time of the last one."""
    if read_at:
        call.end(COMPLETED, None, read_at[0])


class _Unparsed:
    """The stream of a raw response until it is parsed; held by the response and its copies, it is dropped with them."""

    def __init__(self, api: Endpoint, call: ModelCall, read_at: Sequence[int]) -> None:
        self._api = api
        self._call = call
        self._read_at = read_at
        self._given: Any = None

    def parsed(self, result: Any) -> Any:
        if not is_iterator(result):
            return result
        if self._given is None:
            if self._call.drop is not None:  # the response may go before its stream does
                self._call.drop.cancel()
            self._given = hand_over(self._call, result, self._api.reader, None, streamed=True)
        return self._given

    def closed(self, outcome: str) -> None:
        if self._given is None:
            _completed(self._call, self._read_at)
        self._call.end(outcome)


def closing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a helper close the stream that it reads by the proxy around it, and not past that."""

    @wraps(original)
    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        raw = getattr(self, "_raw_stream", None)
        return raw.close() if raw is not None and is_proxy(raw) else original(self, *args, **kwargs)

    return close
