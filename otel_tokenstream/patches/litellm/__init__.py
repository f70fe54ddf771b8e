"""litellm: every function that asks a model, streamed and not.

Since 1.104 the main ones are dispatchers that look their implementation up in a module of
their own at each call; before, and for the others, the public function is a decorator's
wrapper. A patch at its place covers all it does, caching and retries included. A second one
on the function that the decorator closes over sees each request, and reaches programs that
imported the public function before they were instrumented.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.patches.litellm.apis import anthropic_messages, chat, completions, gemini, responses
from otel_tokenstream.patches.litellm.hooks import (
    batches,
    dispatch,
    litellm_otel,
    passthrough_proxy,
    passthrough_sdk,
    router,
    thread_context,
    user_callbacks,
)
from otel_tokenstream.patches.litellm.hooks.attempts import aattempting, attempting
from otel_tokenstream.patches.litellm.hooks.calls import acalling, calling
from otel_tokenstream.patches.seams import LITELLM, PublicEntry
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.emit.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint

_MESSAGES = (
    "litellm.llms.anthropic.messages.native.handler",  # since 1.109
    "litellm.llms.anthropic.experimental_pass_through.messages.handler",
    "litellm.llms.anthropic.pass_through.messages.handler",
)


class _Function(NamedTuple):
    """A public function: where it is made, and where else litellm keeps it.

    ``bare`` functions have no decorator. Without an ``endpoint`` each call's endpoint tells what is asked for.
    """

    endpoint: Endpoint | None
    is_async: bool
    made: str
    name: str
    kept: tuple[tuple[str, str], ...]
    bare: bool = False

    @property
    def public(self) -> PublicEntry:
        return PublicEntry(f"litellm.{self.name}", () if self.made == "litellm.main" else LITELLM)


def _litellm(name: str) -> tuple[str, str]:
    return "litellm", name


_FUNCTIONS = (
    _Function(
        chat.ENDPOINT,
        False,
        "litellm.main",
        "completion",
        (("litellm.chat_completions.dispatch", "_PYTHON_COMPLETION"), _litellm("completion")),
    ),
    _Function(
        chat.ENDPOINT,
        True,
        "litellm.main",
        "acompletion",
        (("litellm.chat_completions.dispatch", "_PYTHON_ACOMPLETION"), _litellm("acompletion")),
    ),
    _Function(completions.ENDPOINT, False, "litellm.main", "text_completion", (_litellm("text_completion"),)),
    _Function(completions.ENDPOINT, True, "litellm.main", "atext_completion", (_litellm("atext_completion"),)),
    _Function(
        responses.ENDPOINT,
        False,
        "litellm.responses.main",
        "responses",
        (("litellm.responses.dispatch", "_PYTHON_RESPONSES"), _litellm("responses")),
    ),
    _Function(
        responses.ENDPOINT,
        True,
        "litellm.responses.main",
        "aresponses",
        (("litellm.responses.dispatch", "_PYTHON_ARESPONSES"), _litellm("aresponses")),
    ),
    *(
        _Function(
            endpoint, is_async, "litellm.google_genai.main", name, (("litellm.google_genai", name), ("litellm", name))
        )
        for endpoint, is_async, name in (
            (gemini.ENDPOINT, False, "generate_content"),
            (gemini.ENDPOINT, True, "agenerate_content"),
            (gemini.STREAMED, False, "generate_content_stream"),
            (gemini.STREAMED, True, "agenerate_content_stream"),
        )
    ),
    *(
        function
        for made in _MESSAGES
        for function in (
            _Function(
                anthropic_messages.ENDPOINT,
                True,
                made,
                "anthropic_messages",
                (
                    ("litellm.messages.dispatch", "_PYTHON_AMESSAGES"),
                    ("litellm.anthropic_interface.messages", "_async_anthropic_messages"),
                    _litellm("anthropic_messages"),
                ),
            ),
            _Function(
                anthropic_messages.ENDPOINT,
                False,
                made,
                "anthropic_messages_handler",
                (
                    ("litellm.messages.dispatch", "_PYTHON_MESSAGES"),
                    ("litellm.anthropic_interface.messages", "_sync_anthropic_messages"),
                    _litellm("anthropic_messages_handler"),
                ),
                bare=True,
            ),
        )
    ),
    *(
        _Function(
            None,
            name.startswith("a"),
            "litellm.passthrough.main",
            name,
            (("litellm.passthrough", name), _litellm(name)),
        )
        for name in passthrough_sdk.NAMES
    ),
)


def table(telemetry: Telemetry) -> PatchTable:
    patches = [patch for function in _FUNCTIONS for patch in _patches(telemetry, function)]
    return PatchTable(
        [
            *dispatch.patches(telemetry),
            *patches,
            *router.patches(telemetry),
            *batches.patches(),
            *thread_context.patches(),
            *user_callbacks.patches(),
            *litellm_otel.patches(),
            *(_of_proxy(patch) for patch in passthrough_proxy.patches(telemetry)),
        ],
        "litellm",
    )


def _of_proxy(patch: Patch) -> Patch:
    return replace(patch, entries=(PublicEntry("the proxy server's pass-through routes", LITELLM),))


def _around(telemetry: Telemetry, function: _Function) -> Callable[[Any], Any]:
    if function.endpoint is None:
        return partial(passthrough_sdk.acalling if function.is_async else passthrough_sdk.calling, telemetry)
    endpoint, wrap = function.endpoint, acalling if function.is_async else calling
    return lambda original: wrap(telemetry, endpoint.of(original), original)


def _patches(telemetry: Telemetry, function: _Function) -> Iterator[Patch]:
    around = _around(telemetry, function)
    attempt = aattempting if function.is_async else attempting
    attempted = function.endpoint or passthrough_sdk.ATTEMPTED

    def inside(original: Any) -> Any:
        return around(attempt(attempted.of(original), original))

    def unless_dispatcher(original: Any) -> Any:
        """Leave a dispatcher alone: it looks up what is patched elsewhere."""
        is_dispatcher = getattr(original, "__module__", "").endswith(".dispatch")
        return original if is_dispatcher or not callable(original) else outside(original)

    outside = inside if function.bare else around
    seam = partial(Patch, after="litellm", optional=True, entries=(function.public,))
    if not function.bare:
        yield seam(function.made, function.name, inside, cell="original_function")
    yield seam(function.made, function.name, outside)
    for module, name in function.kept:
        yield seam(module, name, unless_dispatcher)
