"""``responses`` and ``aresponses``: the events of OpenAI's Responses API, native or bridged from chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from otel_tokenstream.core.call.chunk_kinds import AUDIO, EMPTY, IMAGE, OTHER, REASONING, REFUSAL, TEXT, TOOL_CALL
from otel_tokenstream.core.call.request import Usage
from otel_tokenstream.patches.litellm.apis import chat
from otel_tokenstream.patches.litellm.apis.endpoint import Endpoint
from otel_tokenstream.patches.litellm.apis.response_items import (
    Item,
    Items,
    Value,
    has_result,
    is_call,
    kind_of_whole,
    result_of,
    values,
)
from otel_tokenstream.patches.openai_shape import by_modality, count, error_word, get, with_reasoning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.stream_proxy import Reader


class _Text(NamedTuple):
    """A text that comes in deltas, or whole in its last event: its kind, the type of its item, its family there."""

    kind: str
    item: str
    family: str
    encoded: bool = False


_TEXTS = {
    "output_text": _Text(TEXT, "message", "text"),
    "refusal": _Text(REFUSAL, "message", "refusal"),
    "reasoning_text": _Text(REASONING, "reasoning", "reasoning"),
    "reasoning_summary_text": _Text(REASONING, "reasoning", "summary"),
    "function_call_arguments": _Text(TOOL_CALL, "function_call", "call"),
    "custom_tool_call_input": _Text(TOOL_CALL, "custom_tool_call", "call"),
    "mcp_call_arguments": _Text(TOOL_CALL, "mcp_call", "call"),
    "code_interpreter_call_code": _Text(TOOL_CALL, "code_interpreter_call", "call"),
    **dict.fromkeys(("audio", "output_audio"), _Text(AUDIO, "message", "sound", encoded=True)),
    **dict.fromkeys(("audio.transcript", "output_audio_transcript"), _Text(AUDIO, "message", "audio")),
}
_DELTAS = {f"response.{name}.delta": text for name, text in _TEXTS.items()}
_DONES = {f"response.{name}.done": text for name, text in _TEXTS.items() if not text.encoded}
# Where the last event of a text has it.
_WHOLE = ("text", "refusal", "arguments", "input", "code", "transcript")
_PARTS = {"response.content_part.done": "message", "response.reasoning_summary_part.done": "reasoning"}
_ENDS = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
# The convention's words where the API says it otherwise.
_REASONS = {"max_output_tokens": "length"}
# Of an answer that is made in the background, and asked for later.
_UNFINISHED = ("queued", "in_progress")


def _reader(call: ModelCall) -> Reader:
    output = _Output(call)

    def read(read_started: int, arrived: int, event: Any) -> None:
        name = get(event, "type")
        name = getattr(name, "value", name) or ""
        text = _DELTAS.get(name)
        if text is not None:
            brought = output.delta(read_started, arrived, event, text)
        else:
            # How it ended is read before when: it counts for more.
            _read_about(call, name, event)
            brought = output.read(read_started, arrived, name, event)
            _read_end(call, name, event, output.items)
        if not brought:
            call.chunk(read_started, arrived, EMPTY, 0, None, None)

    return read


class _Output:
    """The output of a stream from its events; each text is taken from the first event that has it."""

    def __init__(self, call: ModelCall) -> None:
        self._call = call
        self.items = Items()
        self._response: Any = None

    def _begin(self, response_id: Any) -> None:
        if self._response not in (None, response_id):
            self.items.of_another_response()
        self._response = response_id

    def read(self, read_started: int, arrived: int, name: str, event: Any) -> bool:
        """Take an event that is no delta of a text; return whether it brought content."""
        text, item = _DONES.get(name), get(event, "item")
        if text is not None:
            whole = next((value for field in _WHOLE if isinstance(value := get(event, field), str)), "")
            about = self.items.of(event, text.item)
            return self._tell(read_started, arrived, about, [Value(_part_of(event, text), text.kind, whole)])
        if name in _PARTS:
            return self._tell(read_started, arrived, self.items.of(event, _PARTS[name]), _of_part(event, _PARTS[name]))
        if name == "response.output_item.added" and item is not None:
            return self._announce(
                read_started, arrived, self.items.whole(get(event, "output_index"), item, begins=True), item
            )
        if name == "response.output_item.done" and item is not None:
            return self._take(read_started, arrived, self.items.whole(get(event, "output_index"), item), item)
        if name == "response.created":
            self._begin(get(get(event, "response"), "id"))
        if name in _ENDS:
            return self._close(read_started, arrived, get(get(event, "response"), "output") or ())
        if name.endswith(".partial_image"):
            return self._image(read_started, arrived, event)
        if name.endswith(".delta"):  # of a text that is newer than this code
            kind = TOOL_CALL if "_call" in name else REASONING if "reasoning" in name else OTHER
            family = name.split(".")[1]
            return self.delta(read_started, arrived, event, _Text(kind, "", family, encoded=kind == OTHER))
        return False

    def delta(self, read_started: int, arrived: int, event: Any, text: _Text) -> bool:
        piece = get(event, "delta")
        item = self.items.of(event, text.item)
        if not isinstance(piece, str) or not piece:
            return False
        if text.encoded:
            self._call.chunk(read_started, arrived, text.kind, 0, None, None)
            return True
        item.add(_part_of(event, text), len(piece))
        self._generated(read_started, arrived, item, text.kind, piece)
        return True

    def _generated(self, read_started: int, arrived: int, item: Item, kind: str, text: str) -> None:
        if kind is TEXT:
            self._call.text(read_started, arrived, text)
        elif kind is TOOL_CALL:
            item.shown = True
            self._call.tool_calls(read_started, arrived, [(item.number, item.call_id, item.name, text)])
        else:
            self._call.generated(read_started, arrived, kind, text)

    def _tell(self, read_started: int, arrived: int, item: Item, whole: Iterable[Value]) -> bool:
        """Take whole texts as far as no delta had them."""
        brought = False
        for value in whole:
            rest = item.rest(value)
            if rest:
                self._generated(0 if brought else read_started, arrived, item, value.kind, rest)
                brought = True
        return brought

    def _announce(self, read_started: int, arrived: int, item: Item, said: Any) -> bool:
        item.announced = True
        if not is_call(said):
            return False
        item.shown = self._call.first_token is not None
        self._call.tool_call_announced(read_started, arrived, (item.number, item.call_id, item.name, ""))
        return True

    def _take(self, read_started: int, arrived: int, item: Item, said: Any) -> bool:
        """Take a whole item."""
        first, item.done = not item.done, True
        item.with_result = item.with_result or has_result(said)
        whole = values(said)
        brought = self._tell(read_started, arrived, item, whole)
        called = item.call_id is not None and any(value.kind is TOOL_CALL for value in whole)
        if called and not item.shown:  # without arguments
            self._generated(0 if brought else read_started, arrived, item, TOOL_CALL, "")
            brought = True
        kind = None if whole else kind_of_whole(said)
        if kind is not None:
            if first and not item.shown:
                self._call.block(read_started, arrived, kind, said, at=item.number)
                item.shown = brought = True
            else:
                self._call.keep(said, item.number)
        elif called and has_result(said):
            self._call.keep({"type": "tool_result", "id": item.call_id, "content": result_of(said)}, item.number)
        return brought

    def _image(self, read_started: int, arrived: int, event: Any) -> bool:
        item = self.items.of(event, "image_generation_call")
        item.shown = True
        said = {"type": "image_generation_call", "id": get(event, "item_id"), "result": get(event, "partial_image_b64")}
        said["output_format"] = get(event, "output_format")
        self._call.block(read_started, arrived, IMAGE, said, at=item.number)
        return True

    def _close(self, read_started: int, arrived: int, output: Iterable[Any]) -> bool:
        """Take the answer at the end as a whole; where it says less than the stream, the stream holds."""
        brought, matched, complete = False, set[int](), True
        output = list(output)
        for said in output:
            item = self.items.last(said, matched)
            complete = complete and item.is_all_in(said)
            brought = self._take(0 if brought else read_started, arrived, item, said) or brought
        if output and complete and len(matched) == len(self.items.all):
            self._call.answered(output)
        return brought


def _part_of(event: Any, text: _Text) -> tuple[str, int]:
    index = get(event, "summary_index" if text.family == "summary" else "content_index")
    return text.family, index if isinstance(index, int) and text.kind is not TOOL_CALL else 0


def _of_part(event: Any, kind: str) -> list[Value]:
    """Return the texts of a whole part."""
    field, name = ("content", "content_index") if kind == "message" else ("summary", "summary_index")
    index, part = get(event, name), get(event, "part")
    at = index if isinstance(index, int) else 0
    return [value._replace(part=(value.part[0], at)) for value in values({"type": kind, field: [part] if part else ()})]


def _read_about(call: ModelCall, name: str, event: Any) -> None:
    answer = get(event, "response")
    if answer is not None:
        _read_head(call, answer)
    elif name == "error":
        call.error_type = error_word(get(event, "code"), get(get(event, "error"), "type"))


def _read_head(call: ModelCall, answer: Any) -> None:
    call.response_id = get(answer, "id") or call.response_id
    model = chat.served(call, get(answer, "model"))
    if model and (model != call.request.model or chat.names_its_model(call)):
        call.response_model = model


def _read_end(call: ModelCall, name: str, event: Any, items: Items) -> None:
    if name in _ENDS:
        answer = get(event, "response")
        _read_status(call, answer, get(answer, "status") or _ENDS[name], items)


def _read_status(call: ModelCall, answer: Any, status: str, items: Items) -> None:
    if status == "failed":
        call.error_type = error_word(get(get(answer, "error"), "code"), "failed")
    elif status == "incomplete":
        reason = get(get(answer, "incomplete_details"), "reason") or "incomplete"
        call.finish_reasons[0] = _REASONS.get(reason, reason)
    elif status == "cancelled":
        call.finish_reasons[0] = status
    elif status not in _UNFINISHED:
        called = any(item.is_for_the_program for item in items.all)
        call.finish_reasons[0] = "tool_calls" if called else "stop"
    reported = _usage(get(answer, "usage"))
    call.usage = call.usage.followed_by(reported) if call.usage is not None else reported


def _read_answer(call: ModelCall, answer: Any) -> None:
    _read_head(call, answer)
    output, items = get(answer, "output") or (), Items()
    for index, item in enumerate(output):
        items.whole(index, item, begins=True)
    _read_status(call, answer, get(answer, "status"), items)
    if output:
        call.answered(output)
    hidden = getattr(answer, "_hidden_params", None) or {}
    call.cache_hit = hidden.get("cache_hit") is True


def _usage(reported: Any) -> Usage | None:
    prompt, output = count(reported, "input_tokens"), count(reported, "output_tokens")
    if not prompt and not output:
        return None
    of_prompt, of_output = get(reported, "input_tokens_details"), get(reported, "output_tokens_details")
    reasoning = count(of_output, "reasoning_tokens")
    return Usage(
        input=prompt,
        output=with_reasoning(prompt, output, reasoning, count(reported, "total_tokens")),
        cache_read=count(of_prompt, "cached_tokens"),
        reasoning=reasoning,
        input_by=by_modality(of_prompt),
        cache_read_by=by_modality(get(of_prompt, "cached_tokens_details")),
        output_by=by_modality(of_output),
    )


def _options(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    reasoning = arguments.get("reasoning")
    return {
        **arguments,
        "max_tokens": arguments.get("max_output_tokens"),
        "reasoning_effort": get(reasoning, "effort"),
        "response_format": arguments.get("text_format") or get(arguments.get("text"), "format"),
        "stored_prompt": arguments.get("prompt"),
        "compacted": _is_compacted(arguments.get("input")),
    }


def _is_compacted(given: Any) -> bool:
    return isinstance(given, list) and any(get(item, "type") == "compaction" for item in given)


ENDPOINT = Endpoint(
    operation="chat",
    arguments=("input", "model"),
    prompt="input",
    reader=_reader,
    read_answer=_read_answer,
    options=_options,
    fields=True,
)
