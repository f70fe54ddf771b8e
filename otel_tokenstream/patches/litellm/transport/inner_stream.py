"""litellm's own chat stream, which knows what a provider really said, in the streams that stand around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from otel_tokenstream.core.call.model_call import ModelCall


class InnerStreamRef:
    """Holds a call's stream for the one who hands it over.

    The call itself only knows the way here: it is open until its end, and a stream that the
    collector has to find must not be held by anything that lives.
    """

    __slots__ = ("__weakref__", "stream")

    def __init__(self, call: ModelCall) -> None:
        self.stream: Any = None
        call.library = ref(self)


def note(call: ModelCall, result: Any = None) -> None:
    """Look for the stream in a result, or once more in what is known."""
    inner = call.library and call.library()
    if inner is None:
        return
    found = chat_stream(inner.stream if result is None else result)
    if found is not None or inner.stream is None:
        inner.stream = result if found is None else found


def chat_stream(result: Any) -> Any:
    """Return litellm's own chat stream, None where there is none.

    A generator holds it in a variable, from its first read until it is exhausted.
    """
    around = [result]
    for stream in around:
        if hasattr(stream, "received_finish_reason"):
            return stream
        frame = getattr(stream, "gi_frame", None) or getattr(stream, "ag_frame", None)
        if frame is not None:
            around += [frame.f_locals[name] for name in ("response", "streamwrapper") if name in frame.f_locals]
        elif hasattr(stream, "completion_stream"):
            around.append(stream.completion_stream)
    return None
