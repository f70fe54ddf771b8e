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

from otel_tokenstream.core.text import decoded_size

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
    if kind in _ITEMS:
        return {"role": _ITEMS[kind], "parts": parts([said])}
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
    if _get(content, "parts") is not None:
        return parts(_get(content, "parts"))
    if isinstance(content, Mapping) or not isinstance(content, Iterable):
        content = [content]
    return [_part(block) for block in content]


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
    reasoning = _get(said, "reasoning_content")
    if reasoning:
        found.append({"type": "reasoning", "content": reasoning})
    found += parts(content)
    refusal, audio = _get(said, "refusal"), _get(said, "audio")
    if refusal:
        found.append({"type": "refusal", "content": refusal})
    if audio is not None:
        found.append(_part({"type": "input_audio", "input_audio": audio}))
    for call in _get(said, "tool_calls") or ():
        found.append(_part({"type": "chat_tool_call", "call": call}))
    legacy = _get(said, "function_call")
    if legacy is not None:
        found.append(tool_call(None, _get(legacy, "name"), _get(legacy, "arguments")))
    return found


def _part(block: object) -> Part:
    if isinstance(block, str):
        return _text(block)
    kind = _get(block, "type")
    if not isinstance(kind, str):
        return _untyped(block)
    read = _PARTS.get(kind)
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
    inline = _either(block, "inline_data", "inlineData")
    source = _either(block, "file_data", "fileData") if inline is None else inline
    uri, mime = _either(source, "file_uri", "fileUri"), _either(source, "mime_type", "mimeType")
    return _media(source, uri=uri, data=_get(source, "data"), mime=mime)


def _text(text: object) -> Part:
    return {"type": "text", "content": text}


def _tool_response(call_id: object, content: object) -> Part:
    if isinstance(content, (list, tuple)):
        made = parts(content)
        content = made[0]["content"] if len(made) == 1 and made[0]["type"] == "text" else made
    return {"type": "tool_call_response", "id": call_id, "response": parsed(content)}


def _chat_tool_call(block: Any) -> Part:
    call = block["call"]
    function = _get(call, "function")
    return tool_call(_get(call, "id"), _get(function, "name"), _get(function, "arguments"))


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
    **dict.fromkeys(("image_url", "input_image"), _image_url),
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
    "function_call_output": lambda block: _tool_response(_get(block, "call_id"), _get(block, "output")),
    "data": lambda block: _text(json.dumps(_get(block, "value"), ensure_ascii=False, default=str)),
}

_BEDROCK: dict[str, Callable[[Any], Part]] = {
    "toolUse": lambda use: tool_call(_get(use, "toolUseId"), _get(use, "name"), _get(use, "input")),
    "toolResult": lambda result: _tool_response(_get(result, "toolUseId"), _get(result, "content")),
    "reasoningContent": lambda said: {"type": "reasoning", "content": _get(_get(said, "reasoningText"), "text") or ""},
    "json": lambda value: _text(json.dumps(value, ensure_ascii=False, default=str)),
    **{name: partial(_bedrock_media, name) for name in (*_MODALITIES, "document")},
}

# Items of the Responses interface that are no messages, and whose they are.
_ITEMS = {"function_call": "assistant", "function_call_output": "tool", "reasoning": "assistant"}


def _either(thing: object, name: str, on_the_wire: str) -> Any:
    value = _get(thing, name)
    return _get(thing, on_the_wire) if value is None else value


def _get(thing: object, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
