"""``generate_content`` and ``generate_content_stream``, sync and async: Gemini's shape, as bytes or as objects."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count as count_from
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.generation import Usage
from otel_tokenstream.core.timeline import AUDIO, EMPTY, REASONING, TEXT
from otel_tokenstream.patches.litellm.entry import Entry
from otel_tokenstream.patches.litellm.sent_events import SentEvents
from otel_tokenstream.patches.openai_shape import count, error_word, get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader

_OPTIONS = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "maxOutputTokens": "max_tokens",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "stopSequences": "stop",
    "candidateCount": "n",
    "responseModalities": "modalities",
}
_FORMS = {"application/json": "json_object", "text/plain": "text"}


def _reader(call: Generation) -> Reader:
    events, positions = SentEvents(), count_from()

    def read(asked: int, arrived: int, chunk: Any) -> None:
        for event in events.feed(chunk):
            for index, part in _read_event(call, event):
                _read_part(call, asked, arrived, index, part, next(positions))
                asked = 0
        if asked:
            call.chunk(asked, arrived, EMPTY, 0, None, None)

    return read


def _read_event(call: Generation, event: Any) -> list[tuple[int, Any]]:
    """Read all but the content, and return that: (candidate, part)."""
    error = get(event, "error")
    if error is not None:
        call.error_type = error_word(get(error, "status"))
    call.response_id = _get(event, "responseId") or call.response_id
    call.response_model = _get(event, "modelVersion") or call.response_model
    call.usage = _usage(_get(event, "usageMetadata")) or call.usage
    blocked = _get(_get(event, "promptFeedback"), "blockReason")
    if blocked:
        call.finish_reasons[0] = str(getattr(blocked, "value", blocked))
    parts = []
    for position, candidate in enumerate(get(event, "candidates") or ()):
        index = get(candidate, "index") or position
        reason = _get(candidate, "finishReason")
        if reason:
            call.finish_reasons[index] = str(getattr(reason, "value", reason))
        parts += [(index, part) for part in get(get(candidate, "content"), "parts") or ()]
    return parts


def _read_part(call: Generation, asked: int, arrived: int, index: int, part: Any, position: int) -> None:
    text, function = get(part, "text"), _get(part, "functionCall")
    if function:
        given = get(function, "args")
        arguments = json.dumps(given, ensure_ascii=False) if given else ""
        call.tool_calls(asked, arrived, [(position, get(function, "id"), get(function, "name"), arguments)], index)
    elif text and get(part, "thought"):
        call.generated(asked, arrived, REASONING, text, index)
    elif text and index == 0:
        call.text(asked, arrived, text)
    elif text:
        call.generated(asked, arrived, TEXT, text, index)
    else:
        media = _get(_get(part, "inlineData"), "mimeType") or ""
        call.chunk(asked, arrived, AUDIO if media.startswith("audio/") else EMPTY, 0, None, None)


def _usage(reported: Any) -> Usage | None:
    prompt, answer = _count(reported, "promptTokenCount"), _count(reported, "candidatesTokenCount")
    thoughts = _count(reported, "thoughtsTokenCount")
    # The convention's output includes reasoning.
    output = None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0)
    if not prompt and not output:
        return None
    of_tools = _count(reported, "toolUsePromptTokenCount")
    return Usage(
        input=prompt if of_tools is None else (prompt or 0) + of_tools,
        output=output,
        cache_read=_count(reported, "cachedContentTokenCount"),
        reasoning=thoughts,
        audio_input=_of_audio(reported, "promptTokensDetails"),
        audio_output=_of_audio(reported, "candidatesTokensDetails"),
    )


def _of_audio(reported: Any, name: str) -> int | None:
    for part in _get(reported, name) or ():
        if get(part, "modality") == "AUDIO":
            return _count(part, "tokenCount")
    return None


def _get(thing: Any, name: str) -> Any:
    """Read a field by its name on the wire, or as Python's objects have it."""
    value = get(thing, name)
    return get(thing, _snake(name)) if value is None else value


def _count(thing: Any, name: str) -> int | None:
    value = count(thing, name)
    return count(thing, _snake(name)) if value is None else value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _read_answer(call: Generation, answer: Any) -> None:
    said: dict[int, list[Any]] = {}
    for index, part in _read_event(call, answer):
        said.setdefault(index, []).append(part)
    for index, parts in said.items():
        call.answered({"role": "model", "parts": parts}, index)


def _options(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    config = asked.get("config") or asked.get("generationConfig")
    mime = _get(config, "responseMimeType")
    return {
        **{ours: _get(config, theirs) for theirs, ours in _OPTIONS.items()},
        "response_format": {"type": _FORMS.get(mime)} if isinstance(mime, str) else None,
    }


ENTRY = Entry(
    operation="generate_content",
    arguments=("model", "contents"),
    prompt="contents",
    reader=_reader,
    read_answer=_read_answer,
    options=_options,
    streamed=lambda _: False,
    fields=True,
)
STREAMED = replace(ENTRY, streamed=lambda _: True)
