"""``text_completion`` and ``atext_completion``: chunks and answers with ``choices[].text``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.timeline import EMPTY, REASONING, TEXT
from otel_tokenstream.patches.litellm import chat
from otel_tokenstream.patches.litellm.entry import Entry
from otel_tokenstream.patches.litellm.source import note

if TYPE_CHECKING:
    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader


def _reader(call: Generation) -> Reader:
    started = False

    def read(asked: int, arrived: int, chunk: Any) -> None:
        nonlocal started
        if not started:
            started = chat.read_first(call, chunk)
        chat.read_usage(call, chunk)
        for choice in getattr(chunk, "choices", None) or ():
            index = getattr(choice, "index", 0) or 0
            reasoning = getattr(choice, "reasoning_content", None)
            if reasoning:
                call.generated(asked, arrived, REASONING, reasoning, index)
                asked = 0
            text = getattr(choice, "text", None)
            if text and index == 0:
                call.text(asked, arrived, text)
                asked = 0
            elif text:
                call.generated(asked, arrived, TEXT, text, index)
                asked = 0
            reason = getattr(choice, "finish_reason", None)
            if reason is not None:
                call.finish_reasons[index] = str(reason)
                note(call)
        if asked:
            call.chunk(asked, arrived, EMPTY, 0, None, None)

    return read


ENTRY = Entry(
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
