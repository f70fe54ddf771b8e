"""``generate_content`` and ``generate_content_stream``, sync and async: Gemini's shape, as bytes or as objects."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count as count_from
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import EMPTY, OTHER, REASONING, TEXT, TOOL_CALL, TOOL_RESULT
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.core.content.messages import plain
from otel_tokenstream.patches.content_kinds import kind_of
from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
from otel_tokenstream.patches.litellm.transport.sse import SentEvents
from otel_tokenstream.patches.openai_shape import count, error_word, get, with_reasoning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader

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
_MARKS = ("text", "thought", "thoughtSignature", "thought_signature", "partMetadata", "part_metadata")
_FORMS = {"application/json": "json_object", "text/plain": "text"}


def _reader(call: ModelCall) -> Reader:
    events, positions = SentEvents(), count_from()

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        for event in events.feed(chunk):
            for index, part in _read_event(call, event):
                _read_part(call, read_started, arrived, index, part, next(positions))
                read_started = 0
        if read_started:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)

    return read


def _read_event(call: ModelCall, event: Any) -> list[tuple[int, Any]]:
    """Read all but the content, and return that: (candidate, part)."""
    error = get(event, "error")
    if error is not None:
        call.error_type = error_word(get(error, "status"))
    call.response_id = _get(event, "responseId") or call.response_id
    call.response_model = _get(event, "modelVersion") or call.response_model
    usage = _usage(_get(event, "usageMetadata"))
    if usage is not None:
        call.usage = usage if call.usage is None else call.usage.followed_by(usage)
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


def _read_part(call: ModelCall, read_started: int, arrived: int, index: int, part: Any, position: int) -> None:
    text, function = get(part, "text"), _get(part, "functionCall")
    if function:
        given = get(function, "args")
        arguments = json.dumps(given, ensure_ascii=False) if given else ""
        call.tool_calls(
            read_started, arrived, [(position, get(function, "id"), get(function, "name"), arguments)], index
        )
    elif text and get(part, "thought"):
        call.generated(read_started, arrived, REASONING, text, index)
    elif text and index == 0:
        call.text(read_started, arrived, text)
    elif text:
        call.generated(read_started, arrived, TEXT, text, index)
    else:
        _read_other(call, read_started, arrived, index, part)


def _read_other(call: ModelCall, read_started: int, arrived: int, index: int, part: Any) -> None:
    """Read a part that is no text: media, code that the provider runs, or what is newer than this code."""
    code, ran = _get(part, "executableCode"), _get(part, "codeExecutionResult")
    kind = TOOL_CALL if code else TOOL_RESULT if ran else kind_of(part)
    if kind is OTHER and not _holds_anything(part):
        call.chunk(read_started, arrived, EMPTY, 0, None, None)
        return
    written = get(code, "code") or get(ran, "output")
    call.block(read_started, arrived, kind, part, text=written if isinstance(written, str) else "", choice=index)


def _holds_anything(part: Any) -> bool:
    """Return whether a part has content beside the marks that Gemini puts on parts, on empty ones too."""
    held = plain(part)
    return isinstance(held, dict) and any(value for name, value in held.items() if name not in _MARKS)


def _usage(reported: Any) -> Usage | None:
    prompt, answer = _count(reported, "promptTokenCount"), _count(reported, "candidatesTokenCount")
    thoughts = _count(reported, "thoughtsTokenCount")
    of_tools = _count(reported, "toolUsePromptTokenCount")
    prompt = prompt if of_tools is None else (prompt or 0) + of_tools
    # The convention's output includes reasoning, which Google counts apart, but not every gateway before it.
    output = with_reasoning(prompt, answer, thoughts, _count(reported, "totalTokenCount"), apart=True)
    if not prompt and not output:
        return None
    return Usage(
        input=prompt,
        output=output,
        cache_read=_count(reported, "cachedContentTokenCount"),
        reasoning=thoughts,
        input_by=_by_modality(reported, "promptTokensDetails"),
        cache_read_by=_by_modality(reported, "cacheTokensDetails"),
        output_by=_by_modality(reported, "candidatesTokensDetails"),
    )


def _by_modality(reported: Any, name: str) -> dict[str, int] | None:
    parts: dict[str, int] = {}
    for part in _get(reported, name) or ():
        modality = get(part, "modality")
        modality = str(getattr(modality, "value", modality)).lower()
        tokens = _count(part, "tokenCount")
        if modality in signals.MODALITIES and tokens:
            parts[modality] = tokens
    return parts or None


def _get(thing: Any, name: str) -> Any:
    """Read a field by its name on the wire, or as Python's objects have it."""
    value = get(thing, name)
    return get(thing, _snake(name)) if value is None else value


def _count(thing: Any, name: str) -> int | None:
    value = count(thing, name)
    return count(thing, _snake(name)) if value is None else value


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _read_answer(call: ModelCall, answer: Any) -> None:
    said: dict[int, list[Any]] = {}
    for index, part in _read_event(call, answer):
        said.setdefault(index, []).append(part)
    for index, parts in said.items():
        call.answered({"role": "model", "parts": parts}, index)


def _options(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    config = arguments.get("config") or arguments.get("generationConfig")
    mime = _get(config, "responseMimeType")
    return {
        **{ours: _get(config, theirs) for theirs, ours in _OPTIONS.items()},
        "response_format": {"type": _FORMS.get(mime)} if isinstance(mime, str) else None,
    }


ENDPOINT = Endpoint(
    operation="generate_content",
    arguments=("model", "contents"),
    prompt="contents",
    reader=_reader,
    read_answer=_read_answer,
    options=_options,
    streamed=lambda _: False,
    fields=True,
)
STREAMED = replace(ENDPOINT, streamed=lambda _: True)
