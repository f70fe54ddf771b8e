"""``text_completion`` and ``atext_completion``: chunks and answers with ``choices[].text``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY, REASONING, TEXT
from otel_tokenstream.patches.litellm.apis import chat
from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
from otel_tokenstream.patches.litellm.transport.inner_stream import note

if TYPE_CHECKING:
    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader


def _reader(call: ModelCall) -> Reader:
    started = False

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        nonlocal started
        if not started:
            started = chat.read_first(call, chunk)
        chat.read_usage(call, chunk)
        for choice in getattr(chunk, "choices", None) or ():
            index = getattr(choice, "index", 0) or 0
            thought = chat.reasoning(choice)
            if thought:
                call.generated(read_started, arrived, REASONING, thought, index)
                read_started = 0
            text = getattr(choice, "text", None)
            if text and index == 0:
                call.text(read_started, arrived, text)
                read_started = 0
            elif text:
                call.generated(read_started, arrived, TEXT, text, index)
                read_started = 0
            reason = getattr(choice, "finish_reason", None)
            if reason:
                chat.note_reason(call, index, reason)
                note(call)
        if read_started:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)

    return read


ENDPOINT = Endpoint(
    operation="text_completion",
    # The async function only hands its arguments on.
    arguments=(
        *("prompt", "model", "best_of", "echo", "frequency_penalty", "logit_bias", "logprobs", "max_tokens"),
        *("n", "presence_penalty", "stop", "stream", "stream_options"),
    ),
    prompt="prompt",
    reader=_reader,
    read_answer=chat.read_answer,
    fields=True,
    usage_on_request=True,
)
