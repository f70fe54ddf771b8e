"""Messages of the libraries in the structure of the GenAI conventions: a role and typed parts.

Reads dictionaries and objects alike: OpenAI's chat messages, the items of its Responses,
Anthropic's content blocks, Google's contents, Bedrock's, and the messages of DSPy's own engine. What is
unknown keeps its type and nothing else. Media keep their type and size, never their data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.sanitize import decoded_size

if TYPE_CHECKING:
    from collections.abc import Callable

Part = dict[str, Any]
Message = dict[str, Any]

_ROLES = {"model": "assistant", "function": "tool"}
_MODALITIES = ("image", "audio", "video")


def message(said: object, default_role: str = "user") -> Message:
    """Return {"role", "parts"} of one message, of whatever shape."""
    if isinstance(said, str):
        return {"role": default_role, "parts": [_text(said)]}
    kind = _get(said, "type")
    if isinstance(kind, str) and kind != "message" and _get(said, "role") is None:
        return {"role": _role_of_item(kind, default_role), "parts": parts([said])}
    role = str(_get(said, "role") or default_role)
    made: Message = {"role": _ROLES.get(role, role), "parts": _parts_of(said, role)}
    name = _get(said, "name")
    if isinstance(name, str) and role not in ("tool", "function"):
        made["name"] = name
    return made


def parts(content: object) -> list[Part]:
    """Return the parts of a message's content: a text, or a list of blocks."""
    if content is None or content == "":
        return []
    if isinstance(content, str):
        return [_text(content)]
    inner = _get(content, "parts")
    if inner is not None:  # once: a mock has parts whatever it is asked
        content = inner
    if isinstance(content, str):
        return [_text(content)]
    if isinstance(content, Mapping) or not isinstance(content, Iterable):
        content = [content]
    return [part for block in content for part in _parts(block)]


def tool(definition: object) -> dict[str, Any]:
    """Return a tool's definition: type, name, and of a function its description and parameters."""
    function = _either(definition, "function", "toolSpec")
    described = definition if function is None else function
    kind = str(_get(definition, "type") or "function")
    made: dict[str, Any] = {"type": kind, "name": str(_get(described, "name") or kind)}
    for name, source in (("description", "description"), ("parameters", "parameters"), ("parameters", "input_schema")):
        value = _get(described, source)
        if value is not None:
            made[name] = value
    schema = _get(_get(described, "inputSchema"), "json")
    return made if schema is None else {**made, "parameters": schema}


def tool_call(call_id: object, name: object, arguments: object) -> Part:
    return {"type": "tool_call", "id": call_id, "name": str(name or ""), "arguments": parsed(arguments)}


def plain(value: Any) -> Any:
    """Return dictionaries and lists for what libraries make of them; anything else as it is."""
    if hasattr(type(value), "model_dump"):  # pydantic's
        return value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def parsed(text: object) -> object:
    """Return what a text of JSON stands for; anything else as it is."""
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _parts_of(said: object, role: str) -> list[Part]:
    content = _get(said, "content")
    if content is None:
        content = _get(said, "parts")  # Google, and DSPy's own engine
    if role in ("tool", "function") and _get(said, "parts") is None:
        return [_tool_response(_get(said, "tool_call_id") or _get(said, "name"), content)]
    found: list[Part] = []
    reasoning = _get(said, "reasoning_content") or _get(said, "reasoning")
    if isinstance(reasoning, str) and reasoning:
        found.append({"type": "reasoning", "content": reasoning})
    found += parts(content)
    refusal, audio = _get(said, "refusal"), _get(said, "audio")
    if refusal:
        found.append({"type": "refusal", "content": refusal})
    found += parts(_get(said, "images"))
    if audio is not None:
        found.append(_part({"type": "input_audio", "input_audio": audio}))
    for call in _get(said, "tool_calls") or ():
        found.append(_part({"type": "chat_tool_call", "call": call}))
    legacy = _get(said, "function_call")
    if legacy is not None:
        found.append(tool_call(None, _get(legacy, "name"), _get(legacy, "arguments")))
    return found


def _parts(block: object) -> list[Part]:
    """Return the parts of one block, several where a hosted tool's call stands there with its result."""
    kind = None if isinstance(block, str) else _get(block, "type")
    if (
        isinstance(kind, str)
        and kind not in _PARTS
        and (kind.endswith("_call") or _get(block, "arguments") is not None)
    ):
        return _item_call(block, kind)
    return [_part(block)]


def _part(block: object) -> Part:
    if isinstance(block, str):
        return _text(block)
    kind = _get(block, "type")
    if not isinstance(kind, str):
        return _untyped(block)
    read = _PARTS.get(kind)
    if read is None and kind.endswith(("_output", "_tool_result")):
        read = _item_output
    return {"type": kind} if read is None else read(block)


def _untyped(block: object) -> Part:
    """Return the part of a block whose one field says what it is: Bedrock's, or Google's."""
    for name, read in _BEDROCK.items():
        value = _get(block, name)
        if value is not None:
            return read(value)
    return _google(block)


def _google(block: object) -> Part:
    text = _get(block, "text")
    call = _either(block, "function_call", "functionCall")
    response = _either(block, "function_response", "functionResponse")
    if text is not None:
        return {"type": "reasoning" if _get(block, "thought") else "text", "content": text}
    if call is not None:
        return tool_call(_get(call, "id"), _get(call, "name"), _get(call, "args"))
    if response is not None:
        return _tool_response(_get(response, "id"), _get(response, "response"))
    code, ran = (
        _either(block, "executable_code", "executableCode"),
        _either(block, "code_execution_result", "codeExecutionResult"),
    )
    if code is not None:
        return tool_call(_get(code, "id"), "code_execution", plain(code))
    if ran is not None:
        return _tool_response(_get(ran, "id"), ran)
    inline = _either(block, "inline_data", "inlineData")
    source = _either(block, "file_data", "fileData") if inline is None else inline
    if source is None:
        named = plain(block)
        marks = named if isinstance(named, Mapping) else {}
        return {"type": next((name for name, value in marks.items() if value and name != "thought"), "unknown")}
    uri, mime = _either(source, "file_uri", "fileUri"), _either(source, "mime_type", "mimeType")
    return _media(source, uri=uri, data=_get(source, "data"), mime=mime)


def _text(text: object) -> Part:
    return {"type": "text", "content": text}


def _item_call(block: object, kind: str) -> list[Part]:
    """Return the call of a tool that is an item of its own, whoever runs it, and its result if it is there."""
    arguments = call_arguments(block)
    call_id = _get(block, "call_id") or _get(block, "id")
    made = [tool_call(call_id, _get(block, "name") or kind, arguments)]
    if kind == "image_generation_call":
        form, data = _get(block, "output_format") or "png", _get(block, "result")
        return made if data is None else [*made, _media(block, data=data, mime=f"image/{form}", modality="image")]
    result = next((value for name in _RESULTS if (value := _get(block, name))), None)
    return made if result is None else [*made, _tool_response(call_id, result)]


def call_arguments(item: object) -> Any:
    """Return what a tool is called with, under whichever name an item of its own has it."""
    return plain(next((value for name in _ARGUMENTS if (value := _get(item, name))), None))


def _item_output(block: object) -> Part:
    """Return the result of a tool as an item or block of its own."""
    call_id = next((value for name in _CALL_IDS if (value := _get(block, name))), None)
    return _tool_response(
        call_id, next((value for name in ("output", "content") if (value := _get(block, name))), None)
    )


def _tool_response(call_id: object, content: object) -> Part:
    content = plain(content)
    if isinstance(content, Mapping) and content.get("type") in _PARTS:
        content = [content]
    if isinstance(content, list) and all(isinstance(each, str) or _is_known(each) for each in content):
        made = parts(content)
        content = made[0]["content"] if len(made) == 1 and made[0]["type"] == "text" else made
    return {"type": "tool_call_response", "id": call_id, "response": parsed(content)}


def _is_known(block: object) -> bool:
    kind = _get(block, "type")
    return kind in _PARTS if isinstance(kind, str) else True


def _chat_tool_call(block: Any) -> Part:
    call = block["call"]
    function = _either(call, "function", "custom")
    return tool_call(_get(call, "id"), _get(function, "name"), _get(function, "arguments") or _get(function, "input"))


def _summary(block: object) -> Part:
    """Return the reasoning of the Responses interface: a list of texts."""
    texts = [_get(each, "text") for each in (_get(block, "summary") or _get(block, "content") or ())]
    return {"type": "reasoning", "content": "\n".join(text for text in texts if isinstance(text, str))}


def _image_url(block: object) -> Part:
    image = _get(block, "image_url")
    url = image if isinstance(image, str) else _get(image, "url")
    return _media(block, uri=url, modality="image")


def _input_audio(block: object) -> Part:
    audio = _get(block, "input_audio")
    form = _get(audio, "format")
    made = _media(audio, data=_get(audio, "data"), mime=f"audio/{form}" if form else None, modality="audio")
    transcript = _get(audio, "transcript")
    return made if transcript is None else {**made, "transcript": transcript}


def _file(block: object) -> Part:
    file = _get(block, "file")
    file = block if file is None else file
    return _media(file, data=_get(file, "file_data"), mime=_get(file, "format"))


def _sourced(block: object) -> Part:
    """Return Anthropic's media, which have a source, or those of DSPy's own engine, which are one."""
    source = _get(block, "source")
    source = block if source is None else source
    mime = _get(source, "media_type")
    return _media(source, uri=_get(source, "url"), data=_get(source, "data"), mime=mime, modality=_get(block, "type"))


def _media(
    source: object, *, uri: object = None, data: object = None, mime: object = None, modality: object = None
) -> Part:
    if isinstance(uri, str) and uri.startswith("data:"):
        declared, _, data = uri.partition(",")
        mime, uri = declared[5:].partition(";")[0], None
    elif isinstance(data, str) and data.startswith("data:"):
        return _media(source, uri=data, mime=mime, modality=modality)
    if modality not in _MODALITIES:
        major = str(mime or "").partition("/")[0]
        modality = major if major in _MODALITIES else "document"
    made: Part = {"modality": modality}
    if mime:
        made["mime_type"] = mime
    if data is not None:
        length = len(data) if isinstance(data, (bytes, bytearray)) else decoded_size(str(data))
        return {"type": "blob", **made, "content": "", "size": length}
    file_id = _get(source, "file_id")
    if file_id is not None:
        return {"type": "file", **made, "file_id": file_id}
    path = _get(source, "path")
    return {"type": "uri", **made, "uri": str(uri if path is None else path) if uri or path else ""}


def _bedrock_media(kind: str, block: object) -> Part:
    source, form = _get(block, "source"), _get(block, "format")
    mime = f"{kind}/{form}" if form and kind in _MODALITIES else None
    return _media(
        block, uri=_get(_get(source, "s3Location"), "uri"), data=_get(source, "bytes"), mime=mime, modality=kind
    )


_PARTS: dict[str, Callable[[Any], Part]] = {
    **dict.fromkeys(("text", "input_text", "output_text"), lambda block: _text(_get(block, "text"))),
    **dict.fromkeys(("image", "audio", "video", "document", "binary"), _sourced),
    **dict.fromkeys(("image_url", "input_image", "output_image", "computer_screenshot"), _image_url),
    **dict.fromkeys(("file", "input_file"), _file),
    "input_audio": _input_audio,
    "refusal": lambda block: {"type": "refusal", "content": _get(block, "refusal") or _get(block, "text")},
    "thinking": lambda block: {"type": "reasoning", "content": _get(block, "thinking") or _get(block, "text") or ""},
    "reasoning": _summary,
    "chat_tool_call": _chat_tool_call,
    **dict.fromkeys(
        ("tool_call", "tool_use", "server_tool_use", "mcp_tool_use"),
        lambda block: tool_call(_get(block, "id"), _get(block, "name"), _get(block, "input")),
    ),
    "function_call": lambda block: tool_call(_get(block, "call_id"), _get(block, "name"), _get(block, "arguments")),
    "tool_result": lambda block: _tool_response(
        _get(block, "tool_use_id") or _get(block, "id"), _get(block, "content")
    ),
    "mcp_approval_response": lambda block: _tool_response(
        _get(block, "approval_request_id"), {"approve": _get(block, "approve")}
    ),
    "data": lambda block: _text(json.dumps(_get(block, "value"), ensure_ascii=False, default=str)),
}

_BEDROCK: dict[str, Callable[[Any], Part]] = {
    "toolUse": lambda use: tool_call(_get(use, "toolUseId"), _get(use, "name"), _get(use, "input")),
    "toolResult": lambda result: _tool_response(_get(result, "toolUseId"), _get(result, "content")),
    "reasoningContent": lambda said: {"type": "reasoning", "content": _get(_get(said, "reasoningText"), "text") or ""},
    "json": lambda value: _text(json.dumps(value, ensure_ascii=False, default=str)),
    **{name: partial(_bedrock_media, name) for name in (*_MODALITIES, "document")},
}

# Names that the arguments, results and ids of calls have, in items of the Responses interface and in blocks.
_ARGUMENTS = ("arguments", "input", "code", "action", "actions", "operation", "queries", "revised_prompt")
_RESULTS = ("output", "outputs", "results", "error")
_CALL_IDS = ("call_id", "tool_use_id", "id")


def _role_of_item(kind: str, default: str) -> str:
    """Return whose an item of the Responses interface is that is no message."""
    if kind.endswith("_output"):
        return "tool"
    ours = kind.endswith(("_call", "_request")) or kind in ("reasoning", "mcp_list_tools", "compaction")
    return "assistant" if ours else default


def _either(thing: object, name: str, on_the_wire: str) -> Any:
    value = _get(thing, name)
    return _get(thing, on_the_wire) if value is None else value


def _get(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
