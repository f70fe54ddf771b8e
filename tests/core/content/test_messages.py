from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from otel_tokenstream.core.content.messages import message, parts, tool

PNG = base64.b64encode(b"x" * 300).decode()
TEXT = {"type": "text", "content": "hello"}
CALL = {"type": "tool_call", "id": "c1", "name": "get", "arguments": {"city": "Bergen"}}
RESULT = {"type": "tool_call_response", "id": "c1", "response": "rain"}
IMAGE = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "size": 300}
LINK = {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"}
THOUGHT = {"type": "reasoning", "content": "hm"}

CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"city": "Bergen"}'}}

CASES: dict[str, tuple[Any, str, list[dict[str, Any]]]] = {
    "responses: a custom tool's call": (
        {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "*** Begin"},
        "assistant",
        [{"type": "tool_call", "id": "c1", "name": "patch", "arguments": "*** Begin"}],
    ),
    "responses: a custom tool's result": (
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "rain"},
        "tool",
        [RESULT],
    ),
    "responses: an MCP server's call with its result": (
        {"type": "mcp_call", "id": "c1", "name": "get", "arguments": '{"city": "Bergen"}', "output": "rain"},
        "assistant",
        [CALL, RESULT],
    ),
    "responses: a request for leave": (
        {"type": "mcp_approval_request", "id": "c1", "name": "get", "arguments": '{"city": "Bergen"}'},
        "assistant",
        [CALL],
    ),
    "responses: leave": (
        {"type": "mcp_approval_response", "approval_request_id": "c1", "approve": True},
        "user",
        [{"type": "tool_call_response", "id": "c1", "response": {"approve": True}}],
    ),
    "responses: a web search": (
        {"type": "web_search_call", "id": "w1", "action": {"type": "search", "query": "tides"}},
        "assistant",
        [
            {
                "type": "tool_call",
                "id": "w1",
                "name": "web_search_call",
                "arguments": {"type": "search", "query": "tides"},
            }
        ],
    ),
    "responses: a screenshot": (
        {
            "type": "computer_call_output",
            "call_id": "c1",
            "output": {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{PNG}"},
        },
        "tool",
        [{"type": "tool_call_response", "id": "c1", "response": [IMAGE]}],
    ),
    "responses: a call of tomorrow": (
        {"type": "hologram_call", "id": "h1", "arguments": "{}"},
        "assistant",
        [{"type": "tool_call", "id": "h1", "name": "hologram_call", "arguments": {}}],
    ),
    "responses: a result of tomorrow": (
        {"type": "hologram_call_output", "call_id": "c1", "output": "rain"},
        "tool",
        [RESULT],
    ),
    "responses: an item of tomorrow": ({"type": "hologram", "id": "h1"}, "user", [{"type": "hologram"}]),
    "chat: a custom tool's call": (
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}],
        },
        "assistant",
        [{"type": "tool_call", "id": "c1", "name": "patch", "arguments": "*** Begin"}],
    ),
    "anthropic: a server tool's result": (
        {
            "role": "assistant",
            "content": [{"type": "web_fetch_tool_result", "tool_use_id": "c1", "content": {"type": "page"}}],
        },
        "assistant",
        [{"type": "tool_call_response", "id": "c1", "response": {"type": "page"}}],
    ),
    "chat: text": ({"role": "user", "content": "hello"}, "user", [TEXT]),
    "chat: parts": (
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hello"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
                {"type": "file", "file": {"file_id": "f1"}},
            ],
        },
        "user",
        [
            TEXT,
            IMAGE,
            LINK,
            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "", "size": 300},
            {"type": "file", "modality": "document", "file_id": "f1"},
        ],
    ),
    "chat: answer": (
        {"role": "assistant", "content": "hello", "reasoning_content": "hm", "tool_calls": [CHAT_CALL]},
        "assistant",
        [THOUGHT, TEXT, CALL],
    ),
    "chat: refusal": ({"role": "assistant", "refusal": "no"}, "assistant", [{"type": "refusal", "content": "no"}]),
    "chat: tool": ({"role": "tool", "tool_call_id": "c1", "content": "rain"}, "tool", [RESULT]),
    "chat: tool, in parts": (
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
        "tool",
        [RESULT],
    ),
    "anthropic: answer": (
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "hello"},
                {"type": "tool_use", "id": "c1", "name": "get", "input": {"city": "Bergen"}},
            ],
        },
        "assistant",
        [THOUGHT, TEXT, CALL],
    ),
    "anthropic: prompt": (
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "rain"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            ],
        },
        "user",
        [RESULT, IMAGE, LINK],
    ),
    "responses: message": (
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]},
        "assistant",
        [TEXT],
    ),
    "responses: call": (
        SimpleNamespace(type="function_call", call_id="c1", name="get", arguments='{"city": "Bergen"}'),
        "assistant",
        [CALL],
    ),
    "responses: result": ({"type": "function_call_output", "call_id": "c1", "output": "rain"}, "tool", [RESULT]),
    "responses: reasoning": (
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        "assistant",
        [THOUGHT],
    ),
    "google": (
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"text": "hello"},
                {"functionCall": {"id": "c1", "name": "get", "args": {"city": "Bergen"}}},
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
            ],
        },
        "assistant",
        [THOUGHT, TEXT, CALL, IMAGE],
    ),
    "text alone": ("hello", "user", [TEXT]),
    "unknown part": ({"role": "user", "content": [{"type": "hologram", "data": "x"}]}, "user", [{"type": "hologram"}]),
    "no content": ({"role": "assistant", "content": None}, "assistant", []),
    "arguments that are no JSON": (
        {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "get", "arguments": '{"ci'}}]},
        "assistant",
        [{**CALL, "arguments": '{"ci'}],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message_gets_the_structure_of_the_conventions(case: str) -> None:
    """Whatever library said it: a role, and parts of the conventions' types."""
    said, role, expected = CASES[case]
    assert message(said) == {"role": role, "parts": expected}


def test_name_of_a_participant_is_kept() -> None:
    """The conventions have a place for it beside the role."""
    assert message({"role": "user", "name": "al", "content": "hello"}) == {
        "role": "user",
        "name": "al",
        "parts": [TEXT],
    }


@pytest.mark.parametrize("given", ["hello", [{"type": "text", "text": "hello"}], {"parts": [{"text": "hello"}]}])
def test_instructions_come_as_text_and_as_parts(given: object) -> None:
    """As the chat's, Anthropic's and Google's interfaces take them."""
    assert parts(given) == [TEXT]


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.mark.parametrize(
    "given",
    [
        {"type": "function", "function": {"name": "get", "description": "Weather", "parameters": SCHEMA}},
        {"type": "function", "name": "get", "description": "Weather", "parameters": SCHEMA},
        {"name": "get", "description": "Weather", "input_schema": SCHEMA},
    ],
)
def test_tool_gets_the_structure_of_the_conventions(given: object) -> None:
    """As the chat's, Responses' and Anthropic's interfaces take it."""
    assert tool(given) == {"type": "function", "name": "get", "description": "Weather", "parameters": SCHEMA}
