"""LangChain's standard tests of chat models, over HTTP, without this package and with it."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream.demo.provider import Script, tool_call
from otel_tokenstream.testing import capture

pytest.importorskip("langchain_tests", reason="make test-newest installs it")
pytest.importorskip("langchain_openai")

import openai
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.demo.provider.script import Piece

MODELS = ("gpt-4o", "another")


def answer(request: Mapping[str, Any]) -> Sequence[str | Piece]:
    """Call the tool that is offered, until its result is there; follow a schema; else say something."""
    last = request["messages"][-1]
    said = json.dumps(last["content"], ensure_ascii=False)
    tools = [tool["function"] for tool in request.get("tools") or ()]
    if tools and last["role"] == "user":
        function = _chosen(tools, request.get("tool_choice"))
        arguments = json.dumps(_value(function.get("parameters") or {}, said), ensure_ascii=False)
        return [tool_call("", name=function["name"], call_id="call_1"), *map(tool_call, _cut(arguments))]
    wanted = request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return _cut(json.dumps(_value(wanted["json_schema"]["schema"], said)))
    if wanted.get("type") == "json_object":
        return ['{"setup": "Why?",', ' "punchline": "Because."}']
    return ["The ", "answer ", "is ", "three."]


def _cut(text: str) -> list[str]:
    return re.findall(".{1,8}", text)


def _chosen(tools: Sequence[Mapping[str, Any]], choice: Any) -> Mapping[str, Any]:
    name = choice["function"]["name"] if isinstance(choice, dict) else None
    return next((tool for tool in tools if tool["name"] == name), tools[0])


def _value(schema: Mapping[str, Any], said: str) -> Any:
    """Return a value of a JSON schema, with a number or a name in quotes from the prompt."""
    match schema.get("type"):
        case "object":
            return {name: _value(about, said) for name, about in (schema.get("properties") or {}).items()}
        case "array":
            return []
        case "integer" | "number":
            numbers = re.findall(r"\d+", said)
            return int(numbers[0]) if numbers else 1
        case "boolean":
            return True
        case "string":
            return (schema.get("enum") or re.findall("'(.+?)'", said) or ["a word"])[0]
    return None


class TestChatOpenAI(ChatModelIntegrationTests):
    @pytest.fixture(params=["without", "with"], autouse=True)
    def instrumented(self, request: pytest.FixtureRequest, provider: ScriptedProvider) -> Iterator[None]:
        """Each call that the provider answers is one generation."""
        provider.scripts |= dict.fromkeys(MODELS, Script(pieces=answer, gap=0.0005))
        self.base_url = provider.base_url
        with capture() if request.param == "with" else nullcontext() as captured:
            yield
        if captured is not None:
            assert len(captured.generations) == len(provider.log.exchanges())

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": MODELS[0],
            "base_url": self.base_url,
            "api_key": "none",
            "stream_usage": True,
            # LangChain keeps its own from the loop of an earlier test.
            "http_async_client": openai.DefaultAsyncHttpxClient(),
        }

    @property
    def model_override_value(self) -> str:
        return MODELS[1]

    @property
    def supports_json_mode(self) -> bool:
        return True
