"""litellm: every function that asks a model, streamed and not.

Since 1.104 the main ones are dispatchers that look their implementation up in a module of
their own at each call; before, and for the others, the public function is a decorator's
wrapper. A patch at its place covers all it does, caching and retries included. A second one
on the function that the decorator closes over sees each request, and reaches programs that
imported the public function before they were instrumented.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.patches.litellm import (
    chat,
    google,
    messages,
    other_loops,
    own_telemetry,
    pass_through,
    programs_code,
    relayed,
    responses,
    router,
    text,
)
from otel_tokenstream.patches.litellm.attempts import aattempting, attempting
from otel_tokenstream.patches.litellm.calls import acalling, calling
from otel_tokenstream.patches.table import Patch, PatchTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.core.telemetry import Telemetry
    from otel_tokenstream.patches.litellm.entry import Entry

_MESSAGES = "litellm.llms.anthropic.{}.messages.handler"


class _Function(NamedTuple):
    """A public function: where it is made, and where else litellm keeps it.

    ``bare`` functions have no decorator. Without an ``entry`` each call's endpoint tells what is asked for.
    """

    entry: Entry | None
    is_async: bool
    made: str
    name: str
    kept: tuple[tuple[str, str], ...]
    bare: bool = False


def _litellm(name: str) -> tuple[str, str]:
    return "litellm", name


_FUNCTIONS = (
    _Function(
        chat.ENTRY,
        False,
        "litellm.main",
        "completion",
        (("litellm.chat_completions.dispatch", "_PYTHON_COMPLETION"), _litellm("completion")),
    ),
    _Function(
        chat.ENTRY,
        True,
        "litellm.main",
        "acompletion",
        (("litellm.chat_completions.dispatch", "_PYTHON_ACOMPLETION"), _litellm("acompletion")),
    ),
    _Function(text.ENTRY, False, "litellm.main", "text_completion", (_litellm("text_completion"),)),
    _Function(text.ENTRY, True, "litellm.main", "atext_completion", (_litellm("atext_completion"),)),
    _Function(
        responses.ENTRY,
        False,
        "litellm.responses.main",
        "responses",
        (("litellm.responses.dispatch", "_PYTHON_RESPONSES"), _litellm("responses")),
    ),
    _Function(
        responses.ENTRY,
        True,
        "litellm.responses.main",
        "aresponses",
        (("litellm.responses.dispatch", "_PYTHON_ARESPONSES"), _litellm("aresponses")),
    ),
    *(
        _Function(
            entry, is_async, "litellm.google_genai.main", name, (("litellm.google_genai", name), ("litellm", name))
        )
        for entry, is_async, name in (
            (google.ENTRY, False, "generate_content"),
            (google.ENTRY, True, "agenerate_content"),
            (google.STREAMED, False, "generate_content_stream"),
            (google.STREAMED, True, "agenerate_content_stream"),
        )
    ),
    *(
        function
        for folder in ("pass_through", "experimental_pass_through")
        for function in (
            _Function(
                messages.ENTRY,
                True,
                _MESSAGES.format(folder),
                "anthropic_messages",
                (
                    ("litellm.messages.dispatch", "_PYTHON_AMESSAGES"),
                    ("litellm.anthropic_interface.messages", "_async_anthropic_messages"),
                    _litellm("anthropic_messages"),
                ),
            ),
            _Function(
                messages.ENTRY,
                False,
                _MESSAGES.format(folder),
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
        for name in relayed.NAMES
    ),
)


def table(telemetry: Telemetry) -> PatchTable:
    patches = [patch for function in _FUNCTIONS for patch in _patches(telemetry, function)]
    return PatchTable(
        [
            *patches,
            *router.patches(telemetry),
            *other_loops.patches(),
            *programs_code.patches(),
            *own_telemetry.patches(),
            *pass_through.patches(telemetry),
        ]
    )


def _around(telemetry: Telemetry, function: _Function) -> Callable[[Any], Any]:
    if function.entry is None:
        return partial(relayed.acalling if function.is_async else relayed.calling, telemetry)
    entry, wrap = function.entry, acalling if function.is_async else calling
    return lambda original: wrap(telemetry, entry.of(original), original)


def _patches(telemetry: Telemetry, function: _Function) -> Iterator[Patch]:
    around = _around(telemetry, function)
    attempt = aattempting if function.is_async else attempting
    attempted = function.entry or relayed.ATTEMPTED

    def inside(original: Any) -> Any:
        return around(attempt(attempted.of(original), original))

    def unless_dispatcher(original: Any) -> Any:
        """Leave a dispatcher alone: it looks up what is patched elsewhere."""
        is_dispatcher = getattr(original, "__module__", "").endswith(".dispatch")
        return original if is_dispatcher or not callable(original) else outside(original)

    outside = inside if function.bare else around
    if not function.bare:
        yield Patch(function.made, function.name, inside, "litellm", optional=True, cell="original_function")
    yield Patch(function.made, function.name, outside, "litellm", optional=function.made != "litellm.main")
    for module, name in function.kept:
        yield Patch(module, name, unless_dispatcher, "litellm", optional=True)
