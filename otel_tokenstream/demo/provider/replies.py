"""Composers: they write a scripted answer from the body of a request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from otel_tokenstream.demo.provider.dspy_formats import reply_to_program
from otel_tokenstream.demo.provider.prose import passage_for, text_of, token_like
from otel_tokenstream.demo.provider.script import Piece, reasoning, tool_call
from otel_tokenstream.demo.provider.values import Sampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def answer(request: Mapping[str, Any]) -> Sequence[str | Piece]:
    """Prose, or the fields a DSPy program asks for in the format of its adapter. An interrupted answer goes on."""
    messages = _messages(request)
    text = reply_to_program(messages)
    if text is None:
        whole = passage_for(_question(messages)).answer
        text = whole.removeprefix(_said(messages)) or whole
    return token_like(text)


def think(request: Mapping[str, Any]) -> Sequence[str | Piece]:
    """Reasoning first, then the answer."""
    thought = passage_for(_question(_messages(request))).thought
    return [*(reasoning(part) for part in token_like(thought)), *answer(request)]


def call_tool(request: Mapping[str, Any]) -> Sequence[str | Piece]:
    """A call of the first tool offered; prose once the tool's result is in the conversation."""
    messages = _messages(request)
    if messages and messages[-1].get("role") == "tool":
        return token_like(f"The tool says: {text_of(messages[-1])}. {passage_for(_question(messages)).answer}")
    function: dict[str, Any] = next(
        (tool["function"] for tool in request.get("tools") or () if "function" in tool), WEATHER
    )
    arguments = json.dumps(Sampler(_question(messages)).value(function.get("parameters") or {}, function["name"]))
    parts = token_like(arguments)
    return [
        tool_call("", name=function["name"], call_id=f"call_{len(messages):04d}"),
        *(tool_call(part) for part in parts),
    ]


def _messages(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [message for message in request.get("messages") or () if isinstance(message, dict)]


def _said(messages: list[dict[str, Any]]) -> str:
    return next((text_of(message) for message in reversed(messages) if message.get("role") == "assistant"), "")


def _question(messages: list[dict[str, Any]]) -> str:
    return next((text_of(message) for message in reversed(messages) if message.get("role") == "user"), "")
