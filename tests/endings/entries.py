"""The ways into a stream: each library and API, sync and async, and what its chunks say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

    # Takes a provider and a read timeout; what it returns opens a stream, as a coroutine if async.
    Opener = Callable[[ScriptedProvider, float], Callable[[], Any]]

LAST = "last"  # the piece after which nothing is under way: what a caller has by then is always the same
TIMEOUT = 0.5  # seconds a read may last in the endings that time out

_MADE_ANEW = re.compile(r"\b(resp|msg|item|cmpl|chatcmpl|content)[-_][\w=+/-]+|[0-9a-f-]{32,}|\d{6,}|\d+\.\d+e-\d+")
_FINISHED = re.compile(rb'"(stop_reason|finishReason|finish_reason)":\s*"')


def _as_it_is(script: Script) -> Script:
    return script


@dataclass(frozen=True)
class Entry:
    """One way in. ``model`` is the name the provider is asked for."""

    name: str
    library: str
    is_async: bool
    opener: Opener
    closes: bool
    """Whether the library's stream has close() or aclose() at all."""
    model: str = "test"
    script: Callable[[Script], Script] = _as_it_is
    """What becomes of a row's script, where an answer has to have a form of its own."""
    relayed: bool = False
    """Whether a program stands between the library's stream and the caller, with chunks and errors of its own."""
    ends_well: bool = False
    """Whether litellm ends the stream as if all were well when the one below has failed."""
    error_type: str = Script().error_type
    """What an error is called that comes as content, and raises nothing."""
    own_chunks: bool = False
    """Whether the library makes the caller's chunks itself, and so as many as it likes."""
    reads_on: bool = False
    """Whether the library reads the stream in a task of its own, to its end whatever the caller does but close it."""
    native: bool = False
    """Whether litellm's native code asks the provider."""
    crashes: tuple[str, ...] = ()
    """Endings in which the library itself crashes Python, also without us."""
    usual: bool = False
    """Whether it is run with all faults every time."""
    times_out: bool = True
    """Whether the timeout it is given reaches the client that asks the provider."""


def said(chunk: Any) -> str:
    """What a chunk says, without what differs from one answer to the next."""
    if isinstance(chunk, bytes):
        # The last event may come with the one before it, or not.
        text = _MADE_ANEW.sub("#", chunk.decode())
        return text.partition("event: message_stop")[0].partition("data: [DONE]")[0]
    if type(chunk).__module__.startswith("lionagi."):
        return f"{chunk.type} {chunk.content} {_MADE_ANEW.sub('#', str(chunk.metadata))}"
    if isinstance(chunk, (str, dict)):
        return _MADE_ANEW.sub("#", str(chunk))
    if hasattr(chunk, "model_dump"):
        return f"{type(chunk).__name__} {_MADE_ANEW.sub('#', str(chunk.model_dump(warnings=False)))}"
    return f"{type(chunk).__name__} {_delta(chunk)}"


def _delta(chunk: Any) -> str:
    return f"{getattr(chunk, 'delta', None)} {getattr(chunk, 'finish_reason', None)}"


def finished(chunk: Any) -> bool:
    """Whether a chunk brings the finish reason."""
    if isinstance(chunk, bytes):
        return _FINISHED.search(chunk) is not None
    if isinstance(chunk, str):  # a line of lionpride's
        return _FINISHED.search(chunk.encode()) is not None
    if type(chunk).__module__.startswith("lionagi."):
        return finished(json.dumps(chunk.metadata))
    if isinstance(chunk, dict) and "event" in chunk:
        return bool(chunk["event"] == "message-finish")
    if hasattr(chunk, "response_metadata"):
        return not chunk.response_metadata.keys().isdisjoint(("finish_reason", "stop_reason"))
    if hasattr(chunk, "choices"):
        return bool(chunk.choices and chunk.choices[0].finish_reason)
    kind = getattr(chunk, "type", None)
    return getattr(kind, "value", kind) == "response.completed" or bool(getattr(chunk, "finish_reason", None))
