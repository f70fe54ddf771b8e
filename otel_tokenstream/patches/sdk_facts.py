"""Facts that an SDK knows of a call: how many requests it took, and, below another library, the answer's id and model.

A library above, as LangChain, has the call then. Of its SDK it is often told the text and the token counts alone.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.model_call import now
from otel_tokenstream.core.call.nesting import call_being_read, current_call
from otel_tokenstream.core.call.request import Attempt
from otel_tokenstream.core.runtime.context import reset
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.litellm.hooks.attempts import is_attempting
from otel_tokenstream.patches.openai_shape import get
from otel_tokenstream.patches.raw_responses import is_raw, when_parsed
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token
    from types import TracebackType

    from otel_tokenstream.core.call.model_call import ModelCall

_requests: ContextVar[Requests | None] = ContextVar("otel_tokenstream_sdk_requests", default=None)

# Where the answer is in what a stream gives first: in the event of OpenAI's responses, of Anthropic's messages, itself.
_ANSWERS = ("response", "message")


def patches(package: str) -> Iterator[Patch]:
    """The place at which a client waits before it asks once more."""
    for client, wrap in (("SyncAPIClient", _waiting), ("AsyncAPIClient", _awaiting)):
        yield Patch(f"{package}._base_client", f"{client}._sleep_for_retry", wrap, after=package, optional=True)


@guarded
def call_above() -> ModelCall | None:
    """Return the call of a library above that wants to be told of this request; litellm knows more than the SDK."""
    call = current_call() or call_being_read()
    return None if call is None or not call.observed or is_attempting() else call


class Requests:
    """The requests that a client makes in a ``with`` block, as attempts of a call.

    Those of a call ``above`` are told only where there were several: the library there counts its own.
    """

    __slots__ = ("_above", "_call", "_started", "_token", "_tried")

    def __init__(self, call: ModelCall | None, *, above: bool) -> None:
        self._call = call
        self._above = above
        self._tried = False
        self._started = now()
        self._token: Token[Requests | None] | None = None

    def __enter__(self) -> None:
        if self._call is not None:
            self._token = _requests.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            reset(_requests, self._token)
            if self._tried or not self._above:
                self._tell(None if kind is None else kind.__qualname__)

    def failed(self, error_type: str) -> None:
        self._tried = True
        self._tell(error_type)

    def again(self) -> None:
        self._started = now()

    @guarded
    def _tell(self, error_type: str | None) -> None:
        call = self._call
        if call is not None and call.observed:
            request = call.request
            attempt = Attempt(request.model, request.provider, self._started, ended=now(), error_type=error_type)
            call.attempted(attempt)


def _waiting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def _sleep_for_retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        requests = _failed(self, kwargs)
        result = original(self, *args, **kwargs)
        if requests is not None:
            requests.again()
        return result

    return _sleep_for_retry


def _awaiting(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def _sleep_for_retry(self: Any, *args: Any, **kwargs: Any) -> Any:
        requests = _failed(self, kwargs)
        result = await original(self, *args, **kwargs)
        if requests is not None:
            requests.again()
        return result

    return _sleep_for_retry


@guarded
def _failed(client: Any, about: dict[str, Any]) -> Requests | None:
    requests = _requests.get()
    if requests is not None:
        requests.failed(_error_type(client, about.get("response")))
    return requests


def _error_type(client: Any, response: Any) -> str:
    """Return the class of the SDK's error that the program would have had."""
    if response is not None:
        made = client._make_status_error("", body=None, response=response)  # noqa: SLF001  # without reading the body
        return type(made).__qualname__
    raised = sys.exc_info()[0]
    return "APITimeoutError" if raised is not None and "Timeout" in raised.__name__ else "APIConnectionError"


@guarded
def tell_above(call: ModelCall, result: Any) -> None:
    """Let the call of a library above know the answer's id and model, which the first chunk of a stream has."""
    if is_raw(result):
        when_parsed(result, partial(_looked_at, call))
    else:
        _look_at(call, result)


def _looked_at(call: ModelCall, stream: Any) -> Any:
    _look_at(call, stream)
    return stream


@guarded
def _look_at(call: ModelCall, stream: Any) -> None:
    inner = getattr(stream, "_iterator", None)
    if not isinstance(inner, _First) and (hasattr(inner, "__next__") or hasattr(inner, "__anext__")):
        stream._iterator = _First(inner, call)  # noqa: SLF001  # the one place that all ways to read it share


class _First:
    """An iterator of a stream whose first chunk is looked at."""

    __slots__ = ("_call", "_inner", "_next")

    def __init__(self, inner: Any, call: ModelCall) -> None:
        self._inner = inner
        self._call = call
        self._next = self._first if hasattr(inner, "__next__") else self._afirst

    def __iter__(self) -> Any:
        return self

    def __aiter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._next()

    def __anext__(self) -> Any:
        return self._next()

    def _first(self) -> Any:
        self._next = self._inner.__next__
        chunk = self._inner.__next__()
        _tell(self._call, chunk)
        return chunk

    async def _afirst(self) -> Any:
        self._next = self._inner.__anext__
        chunk = await self._inner.__anext__()
        _tell(self._call, chunk)
        return chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@guarded
def _tell(call: ModelCall, chunk: Any) -> None:
    answer = next((inner for name in _ANSWERS if (inner := get(chunk, name)) is not None), chunk)
    told, model = get(answer, "id"), get(answer, "model")
    if call.response_id is None and isinstance(told, str) and told:
        call.response_id = told
    if call.response_model is None and isinstance(model, str) and model:
        call.response_model = model
