"""Readers of the chunks and answers of LangChain's models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import AUDIO, EMPTY, REASONING, REFUSAL, TEXT, TOOL_RESULT
from otel_tokenstream.core.call.model_call import RUN
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.patches.content_kinds import kind_of
from otel_tokenstream.patches.langchain.requests import plain_message
from otel_tokenstream.patches.openai_shape import as_text, count, get

if TYPE_CHECKING:
    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader

# The integrations' names for why an answer ended, and for who gave it.
_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason", "finishReason")
_MODELS = ("model_name", "model", "model_id", "modelId")
# Ids that LangChain makes itself.
_OWN_IDS = ("run-", "lc_")
# Metadata keys that a chunk of nothing but text may have.
_ABOUT_PROVIDER = {"model_provider"}
# Blocks that repeat the chunk's tool calls.
_TOOL_BLOCKS = ("tool_use", "function_call", "tool_call", "tool_call_chunk", "input_json_delta", "invalid_tool_call")
# Calls of tools that the provider runs itself.
_HOSTED = ("server_tool_use", "mcp_tool_use", "server_tool_call", "server_tool_call_chunk")


def reader(call: ModelCall, first: Callable[[int], object]) -> Reader:
    """Return what reads the chunks of a model's own stream, or the events of one that gives events.

    ``first`` is called once, with the arrival of the first chunk.

    The usual chunk, text and nothing else, is read from the message's own dictionary: attribute
    access on pydantic models costs more than all the rest of a read.
    """
    run: list[int] | None = None
    begun = tools_asked = False

    def read(read_started: int, arrived: int, chunk: Any) -> None:
        nonlocal run, begun, tools_asked
        if not begun:
            begun = True
            first(arrived)
        try:
            said = chunk.message.__dict__
            text = said["content"]
            about = chunk.generation_info
            if (
                text.__class__ is not str
                or said["tool_call_chunks"]
                or said["usage_metadata"] is not None
                or said["additional_kwargs"]
                or (said["response_metadata"] and said["response_metadata"].keys() != _ABOUT_PROVIDER)
                or (about and about.get("finish_reason") is not None)
            ):
                text = None
        except (AttributeError, KeyError, TypeError):
            text = None
        if not text:
            tools_asked = tools_asked or bool(get(get(chunk, "message"), "tool_call_chunks"))
            _read_any(call, read_started, arrived, chunk, tools_asked=tools_asked)
        elif run is None:
            call.text(read_started, arrived, text)
            run = call.plain_run()
        else:
            run.extend((arrived - read_started, arrived, len(text)))
            if len(run) >= RUN:
                call.fold_run()

    return read


def _read_any(call: ModelCall, read_started: int, arrived: int, chunk: Any, *, tools_asked: bool) -> None:
    if isinstance(chunk, Mapping):
        brought = _read_event(call, read_started, arrived, chunk)
    else:
        message = get(chunk, "message")
        _read_about(call, get(chunk, "generation_info"))
        if message is None:  # of a completion model
            text = get(chunk, "text")
            brought = bool(text)
            if text:
                call.text(read_started, arrived, text)
        else:
            _read_facts(call, message, tools_asked=tools_asked)
            brought = _read_message(call, read_started, arrived, message)
    if not brought:
        call.chunk(read_started, arrived, EMPTY, 0, None, None)


def _read_message(call: ModelCall, read_started: int, arrived: int, message: Any) -> bool:
    """Take what a message's chunk brings; return whether it is content."""
    before, extra = read_started, get(message, "additional_kwargs") or {}
    for kind, piece in (*_pieces(extra), *_written(get(message, "content"))):
        if kind == TEXT:
            call.text(read_started, arrived, piece)
        else:
            call.generated(read_started, arrived, kind, piece)
        read_started = 0
    content = get(message, "content")
    for block in content if isinstance(content, list) else ():
        if _take_block(call, read_started, arrived, block):
            read_started = 0
    pieces = [
        (get(each, "index"), get(each, "id"), get(each, "name"), as_text(get(each, "args")))
        for each in get(message, "tool_call_chunks") or ()
    ]
    legacy = extra.get("function_call")
    if legacy and not pieces:
        pieces.append((-1, None, get(legacy, "name"), as_text(get(legacy, "arguments"))))
    if pieces:
        call.tool_calls(read_started, arrived, pieces)
        read_started = 0
    return read_started != before


def _pieces(extra: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of what stands beside a message's content."""
    reasoning = extra.get("reasoning_content") or _thought(extra.get("reasoning"))
    if isinstance(reasoning, str) and reasoning:
        yield REASONING, reasoning
    refusal, audio = extra.get("refusal"), extra.get("audio")
    if isinstance(refusal, str) and refusal:
        yield REFUSAL, refusal
    if audio:
        yield AUDIO, openai_shape.transcript(audio)


def _written(content: Any) -> Iterator[tuple[str, str]]:
    if isinstance(content, str):
        if content:
            yield TEXT, content
        return
    for block in content if isinstance(content, list) else ():
        kind, text = get(block, "type"), None
        if isinstance(block, str):
            kind, text = TEXT, block
        elif kind in ("text", "text_delta", "output_text"):
            kind, text = TEXT, get(block, "text")
        elif kind in ("thinking", "reasoning", "reasoning_content"):
            kind, text = REASONING, _thought(block)
        elif kind == "refusal":
            kind, text = REFUSAL, get(block, "refusal")
        else:
            continue
        if isinstance(text, str) and text:
            yield kind, text


def _thought(block: Any) -> str | None:
    """Return the text of a block of reasoning, of whatever provider."""
    if isinstance(block, str):
        return block
    for name in ("thinking", "reasoning", "text"):
        text = get(block, name)
        if isinstance(text, str):
            return text
    inner = get(block, "reasoning_content")
    if inner is not None:
        return _thought(inner)
    parts = [get(part, "text") for part in (get(block, "summary") or get(block, "content") or ())]
    return "".join(text for text in parts if isinstance(text, str)) or None


def _take_block(call: ModelCall, read_started: int, arrived: int, block: Any) -> bool:
    """Take a block that is no text."""
    kind = get(block, "type")
    if not isinstance(kind, str) or kind in _TOOL_BLOCKS:
        return False
    if kind in _HOSTED:
        written = get(block, "args") or get(block, "partial_json") or ""
        given = written if isinstance(written, str) else str(written)
        call.tool_calls(read_started, arrived, [(get(block, "index"), get(block, "id"), get(block, "name"), given)])
    elif kind.endswith(("_result", "_output")):
        call.block(read_started, arrived, TOOL_RESULT, block)
    elif any(word in kind for word in ("image", "audio", "video", "file")):
        call.block(read_started, arrived, kind_of(block, kind), block)
    else:
        return False
    return True


def _read_event(call: ModelCall, read_started: int, arrived: int, event: Mapping[str, Any]) -> bool:
    """Take an event of a model that gives LangChain's protocol events itself."""
    name = event.get("event")
    if name == "content-block-delta":
        return _read_delta(call, read_started, arrived, event.get("index"), event.get("delta") or {})
    if name == "message-finish":
        call.usage = _together(call.usage, usage_of(event.get("usage")))
        _read_about(call, {"finish_reason": event.get("reason")})
    _read_about(call, event.get("metadata"))
    return False


def _read_delta(call: ModelCall, read_started: int, arrived: int, index: Any, delta: Mapping[str, Any]) -> bool:
    kind = str(delta.get("type") or "").removesuffix("-delta")
    if kind == "block":
        fields = delta.get("fields") or {}
        call.tool_calls(
            read_started, arrived, [(index, fields.get("id"), fields.get("name"), str(fields.get("args") or ""))]
        )
        return True
    text = delta.get(kind)
    if not isinstance(text, str) or not text:
        return False
    if kind == "text":
        call.text(read_started, arrived, text)
    else:
        call.generated(read_started, arrived, REASONING if kind == "reasoning" else kind_of(delta, kind), text)
    return True


def _read_facts(call: ModelCall, message: Any, *, tools_asked: bool) -> None:
    about = get(message, "response_metadata")
    if about:
        _read_about(call, about, tools_asked=tools_asked)
    told = get(message, "id")
    if isinstance(told, str) and not told.startswith(_OWN_IDS):
        call.response_id = told
    reported = get(message, "usage_metadata")
    if reported is not None:
        call.usage = _together(call.usage, usage_of(reported))


def _read_about(call: ModelCall, about: Any, *, tools_asked: bool = False) -> None:
    """Take the facts that integrations put beside a message, each under its provider's own names."""
    if not isinstance(about, Mapping) or not about:
        return
    reason = next((about[name] for name in _REASONS if about.get(name)), None)
    if reason is None and about.get("object") == "response":  # OpenAI's Responses API
        answered = "tool_calls" if tools_asked else "stop"
        reason = answered if about.get("status") == "completed" else get(about.get("incomplete_details"), "reason")
        reason = {"max_output_tokens": "length"}.get(str(reason), reason)
    if reason is not None:
        call.finish_reasons[0] = str(reason)
    model = next((about[name] for name in _MODELS if isinstance(about.get(name), str)), None)
    if model:
        call.response_model = model
    told = about.get("id")
    if isinstance(told, str) and told:
        call.response_id = told


def _together(before: Usage | None, now: Usage | None) -> Usage | None:
    """Add two reports of one answer, as LangChain does when it puts an answer together from its chunks."""
    if before is None or now is None:
        return now if before is None else before

    def both(one: int | None, other: int | None) -> int | None:
        return other if one is None else one if other is None else one + other

    return Usage(
        input=both(before.input, now.input),
        output=both(before.output, now.output),
        cache_read=both(before.cache_read, now.cache_read),
        cache_write=both(before.cache_write, now.cache_write),
        reasoning=both(before.reasoning, now.reasoning),
        input_by=now.input_by or before.input_by,
        output_by=now.output_by or before.output_by,
    )


def usage_of(reported: Any) -> Usage | None:
    """Return LangChain's token counts, which include cached tokens and reasoning as the convention has it."""
    prompt, output = count(reported, "input_tokens"), count(reported, "output_tokens")
    if not prompt and not output:
        return None
    of_prompt, of_output = get(reported, "input_token_details"), get(reported, "output_token_details")
    return Usage(
        input=prompt or None,
        output=output,
        cache_read=count(of_prompt, "cache_read"),
        cache_write=count(of_prompt, "cache_creation"),
        reasoning=count(of_output, "reasoning"),
        input_by=_by_modality(of_prompt),
        output_by=_by_modality(of_output),
    )


def _by_modality(details: Any) -> dict[str, int] | None:
    counts = {name: tokens for name in ("audio", "image", "text") if (tokens := count(details, name))}
    return counts or None


def read_answer(call: ModelCall, result: Any) -> None:
    """Take the result of a model that did not stream: a chat's, or a completion model's for several prompts."""
    answers = get(result, "generations") or ()
    flat = [each for answer in answers for each in (answer if isinstance(answer, list) else [answer])]
    about = get(result, "llm_output")
    _read_about(call, about)
    for index, answer in enumerate(flat):
        _read_one(call, index, answer)
    if call.usage is None and isinstance(about, Mapping):
        call.usage = openai_shape.usage(about.get("token_usage"))


def _read_one(call: ModelCall, index: int, answer: Any) -> None:
    message, reasons = get(answer, "message"), dict(call.finish_reasons)
    _read_about(call, get(answer, "generation_info"))
    if message is None:
        call.answered(get(answer, "text"), index)
    else:
        before = call.usage
        _read_facts(call, message, tools_asked=bool(get(message, "tool_calls")))
        call.usage = before or call.usage  # each choice repeats it
        call.answered(plain_message(message), index)
    if index and 0 in call.finish_reasons:
        call.finish_reasons[index] = call.finish_reasons[0]
        call.finish_reasons.update({0: reasons[0]} if 0 in reasons else {})
