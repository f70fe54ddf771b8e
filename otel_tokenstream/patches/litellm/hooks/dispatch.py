"""``PublicDispatch``, through which litellm calls either its Python code or its native code.

Around the dispatch a call has the same span whichever of them answers. It is a class of
litellm's, looked up at each call, so programs that imported a public function before are
reached too. Native code is given the request as a whole: it counts as one attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.patches.litellm.apis import anthropic_messages, chat, completions, gemini, responses
from otel_tokenstream.patches.litellm.hooks.attempts import aattempting, attempting
from otel_tokenstream.patches.litellm.hooks.calls import acalling, calling
from otel_tokenstream.patches.seams import LITELLM, PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

_MODULE = "litellm.rust_bridge.dispatch"
_ENTRIES = {
    "run": (
        PublicEntry("litellm's native routes", LITELLM),
        PublicEntry("litellm.completion"),
        PublicEntry("litellm.responses", LITELLM),
        PublicEntry("litellm.anthropic_messages_handler", LITELLM),
    ),
    "arun": (
        PublicEntry("litellm's async native routes", LITELLM),
        PublicEntry("litellm.acompletion"),
        PublicEntry("litellm.aresponses", LITELLM),
        PublicEntry("litellm.anthropic_messages", LITELLM),
    ),
}

# By the name of the Python function that would answer, the same for its async twin.
_FUNCTIONS = {
    "completion": chat.ENDPOINT,
    "text_completion": completions.ENDPOINT,
    "responses": responses.ENDPOINT,
    "anthropic_messages": anthropic_messages.ENDPOINT,
    "anthropic_messages_handler": anthropic_messages.ENDPOINT,
    "generate_content": gemini.ENDPOINT,
    "generate_content_stream": gemini.STREAMED,
}
# By the route's name, where there is no Python function any more.
_ROUTES = {
    "chat_completions": chat.ENDPOINT,
    "text_completions": completions.ENDPOINT,
    "responses": responses.ENDPOINT,
    "messages": anthropic_messages.ENDPOINT,
}


def patches(telemetry: Telemetry) -> Iterator[Patch]:
    entries = _Entries()
    for name, wrap in (("run", _run), ("arun", _arun)):
        yield Patch(
            _MODULE,
            f"PublicDispatch.{name}",
            partial(wrap, telemetry, entries),
            "litellm",
            optional=True,
            entries=_ENTRIES[name],
        )


class _Entries:
    """The entry of each dispatch, with the names of its function's positional arguments, found once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Endpoint | None] = {}

    @guarded
    def of(self, dispatch: Any, given: tuple[Any, ...], more: Mapping[str, Any]) -> Endpoint | None:
        """Return None for what asks no model for text, and for a dispatch of another form than we know."""
        args, kwargs = given
        if not (isinstance(args, tuple) and isinstance(kwargs, Mapping) and callable(more.get("native"))):
            return None
        python = more.get("python")
        name, route = getattr(python, "__name__", ""), str(getattr(dispatch.route, "value", dispatch.route))
        if (name, route) not in self._known:
            self._known[name, route] = _endpoint(name, route, python)
        return self._known[name, route]


def _endpoint(name: str, route: str, python: Any) -> Endpoint | None:
    endpoint = _FUNCTIONS.get(name) or _FUNCTIONS.get(name.removeprefix("a"))
    return _ROUTES.get(route) if endpoint is None else endpoint.of(python)


def _run(telemetry: Telemetry, entries: _Entries, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def run(self: Any, *given: Any, **more: Any) -> Any:
        run, endpoint = original.__get__(self), entries.of(self, given, more)
        if endpoint is None:
            return run(*given, **more)
        (args, kwargs), native = given, more["native"]

        def natively(*request: Any) -> Any:
            return attempting(endpoint, lambda *_, **__: native(*request))(*args, **kwargs)

        def dispatched(*args: Any, **kwargs: Any) -> Any:
            return run(args, kwargs, **{**more, "native": natively})

        return calling(telemetry, endpoint, dispatched)(*args, **kwargs)

    return run


def _arun(telemetry: Telemetry, entries: _Entries, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def arun(self: Any, *given: Any, **more: Any) -> Any:
        arun, endpoint = original.__get__(self), entries.of(self, given, more)
        if endpoint is None:
            return await arun(*given, **more)
        (args, kwargs), native = given, more["native"]

        async def natively(*request: Any) -> Any:
            async def ask(*_: Any, **__: Any) -> Any:
                return await native(*request)

            return await aattempting(endpoint, ask)(*args, **kwargs)

        async def dispatched(*args: Any, **kwargs: Any) -> Any:
            return await arun(args, kwargs, **{**more, "native": natively})

        return await acalling(telemetry, endpoint, dispatched)(*args, **kwargs)

    return arun
