"""Messages and tools as objects of the libraries' own classes."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from dspy._vendor.lm15 import types as lm15
from litellm.types.utils import Message

from otel_tokenstream.core.content.messages import message, parts, tool

PNG = base64.b64encode(b"x" * 300).decode()
TEXT = {"type": "text", "content": "hello"}
CALL = {"type": "tool_call", "id": "c1", "name": "get", "arguments": {"city": "Bergen"}}
RESULT = {"type": "tool_call_response", "id": "c1", "response": "rain"}
IMAGE = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "size": 300}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "get", "arguments": '{"city": "Bergen"}'}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

CASES: dict[str, tuple[Any, str, list[dict[str, Any]]]] = {
    "litellm: answer": (Message(role="assistant", content=None, tool_calls=[CHAT_CALL]), "assistant", [CALL]),
    "dspy: prompt": (lm15.Message("user", (lm15.TextPart("hello"), lm15.ImagePart(data=PNG))), "user", [TEXT, IMAGE]),
    "dspy: answer": (
        lm15.Message(
            "assistant",
            (lm15.ThinkingPart("hm"), lm15.TextPart("hello"), lm15.ToolCallPart("c1", "get", CALL["arguments"])),
        ),
        "assistant",
        [{"type": "reasoning", "content": "hm"}, TEXT, CALL],
    ),
    "dspy: tool": (lm15.Message("tool", (lm15.ToolResultPart("c1", (lm15.TextPart("rain"),)),)), "tool", [RESULT]),
}


@pytest.mark.parametrize("case", CASES)
def test_message_gets_the_structure_of_the_conventions(case: str) -> None:
    """A role, and parts of the conventions' types."""
    given, role, expected = CASES[case]
    assert message(given) == {"role": role, "parts": expected}


def test_instructions_are_parts() -> None:
    assert parts((lm15.TextPart("hello"),)) == [TEXT]


def test_tool_gets_the_structure_of_the_conventions() -> None:
    given = lm15.FunctionTool("get", "Weather", SCHEMA)
    assert tool(given) == {"type": "function", "name": "get", "description": "Weather", "parameters": SCHEMA}
