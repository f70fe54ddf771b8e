"""``responses`` and ``aresponses``: the events of OpenAI's Responses API, native or bridged from chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.generation import Usage
from otel_tokenstream.core.timeline import AUDIO, EMPTY, REASONING, REFUSAL, TEXT, TOOL_CALL
from otel_tokenstream.patches.litellm import chat
from otel_tokenstream.patches.litellm.entry import Entry
from otel_tokenstream.patches.openai_shape import count, error_word, get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tokenstream.core.generation import Generation
    from otel_tokenstream.core.streams import Reader

_KINDS = {
    "response.output_text.delta": TEXT,
    "response.reasoning_text.delta": REASONING,
    "response.reasoning_summary_text.delta": REASONING,
    "response.function_call_arguments.delta": TOOL_CALL,
    "response.custom_tool_call_input.delta": TOOL_CALL,
    "response.mcp_call_arguments.delta": TOOL_CALL,
    "response.code_interpreter_call_code.delta": TOOL_CALL,
    "response.refusal.delta": REFUSAL,
    "response.audio.delta": AUDIO,
    "response.audio.transcript.delta": AUDIO,
}
# Items whose arguments come in deltas, after their name.
_CALLS = ("function_call", "custom_tool_call", "mcp_call", "code_interpreter_call")
# The convention's words where the API says it otherwise.
_REASONS = {"max_output_tokens": "length"}


def _reader(call: Generation) -> Reader:
    def read(asked: int, arrived: int, event: Any) -> None:
        name = getattr(event, "type", None)
        name = getattr(name, "value", name)
        kind = _KINDS.get(name or "", EMPTY)
        if kind is TEXT:
            call.text(asked, arrived, event.delta)
            return
        if kind is not EMPTY:
            written = isinstance(event.delta, str) and name != "response.audio.delta"  # which is base64
            if kind is TOOL_CALL and written:
                call.tool_calls(asked, arrived, [(getattr(event, "output_index", 0) or 0, None, None, event.delta)])
            else:
                call.generated(asked, arrived, kind, event.delta if written else "")
            return
        item = getattr(event, "item", None) if name == "response.output_item.added" else None
        if get(item, "type") in _CALLS:
            call_id = get(item, "call_id") or get(item, "id")
            called = get(item, "name") or get(item, "type")
            call.tool_calls(asked, arrived, [(getattr(event, "output_index", 0) or 0, call_id, called, "")])
            return
        # How it ended is read first: it counts for more than when.
        answer = getattr(event, "response", None)
        if answer is not None:
            _read_head(call, answer)
            if name in ("response.completed", "response.incomplete", "response.failed"):
                _read_end(call, answer)
        elif name == "error":
            call.error_type = error_word(get(event, "code"), get(get(event, "error"), "type"))
        call.chunk(asked, arrived, EMPTY, 0, None, None)

    return read


def _read_head(call: Generation, answer: Any) -> None:
    call.response_id = get(answer, "id")
    model = get(answer, "model")
    if model and (model != call.request.model or chat.names_its_model(call)):
        call.response_model = model


def _read_end(call: Generation, answer: Any) -> None:
    status = get(answer, "status")
    if status == "failed":
        call.error_type = error_word(get(get(answer, "error"), "code"), "failed")
    elif status == "incomplete":
        reason = get(get(answer, "incomplete_details"), "reason") or "incomplete"
        call.finish_reasons[0] = _REASONS.get(reason, reason)
    else:
        called = any(get(item, "type") == "function_call" for item in get(answer, "output") or ())
        call.finish_reasons[0] = "tool_calls" if called else "stop"
    call.usage = _usage(get(answer, "usage"))
    if get(answer, "output"):
        call.answered(get(answer, "output"))


def _read_answer(call: Generation, answer: Any) -> None:
    _read_head(call, answer)
    _read_end(call, answer)
    hidden = getattr(answer, "_hidden_params", None) or {}
    call.cache_hit = hidden.get("cache_hit") is True


def _usage(reported: Any) -> Usage | None:
    prompt, output = count(reported, "input_tokens"), count(reported, "output_tokens")
    if not prompt and not output:
        return None
    of_prompt, of_output = get(reported, "input_tokens_details"), get(reported, "output_tokens_details")
    return Usage(
        input=prompt,
        output=output,
        cache_read=count(of_prompt, "cached_tokens"),
        reasoning=count(of_output, "reasoning_tokens"),
        audio_input=count(of_prompt, "audio_tokens"),
        audio_output=count(of_output, "audio_tokens"),
    )


def _options(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    reasoning = asked.get("reasoning")
    return {
        **asked,
        "max_tokens": asked.get("max_output_tokens"),
        "reasoning_effort": get(reasoning, "effort"),
        "response_format": asked.get("text_format") or get(asked.get("text"), "format"),
    }


ENTRY = Entry(
    operation="chat",
    arguments=("input", "model"),
    prompt="input",
    reader=_reader,
    read_answer=_read_answer,
    options=_options,
    fields=True,
)
