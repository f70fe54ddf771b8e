from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from pydantic import BaseModel

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.patches import openai_shape
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, drained, only, pieces

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

LETTERS = Script(pieces=list("abc"), gap=0.001)
TEXT = {"prompt": "Tides?", "model": "deepseek/letters"}
CHAT = {"model": "openai/letters", "messages": QUESTION}


class Answer(BaseModel):
    answer: str


# --- Arguments by position -----------------------------------------------------------------------


async def by_position(name: str, *, upto: str, **asked: Any) -> list[Any]:
    """Call a function with all that may be given by position, up to one argument; the rest by name."""
    described = "text_completion" if "text" in name else name  # the async one only hands its arguments on
    names = list(inspect.signature(getattr(litellm, described)).parameters)
    given = [asked.pop(each, None) for each in names[: names.index(upto) + 1]]
    return await drained(getattr(litellm, name), *given, **asked)


@pytest.mark.parametrize(
    ("name", "asked"),
    [("completion", CHAT), ("acompletion", CHAT), ("text_completion", TEXT), ("atext_completion", TEXT)],
)
@pytest.mark.parametrize("request_usage", [False, True])
async def test_arguments_may_be_given_by_position(
    provider: ScriptedProvider, name: str, asked: dict[str, Any], request_usage: bool
) -> None:
    """``stream`` and its options are found by the function's own order of arguments, and the call works as without."""
    options = {"stream": True, "stream_options": {"include_usage": False}, **at(provider, {"letters": LETTERS})}
    with capture(request_usage=request_usage) as captured:
        chunks = await by_position(name, upto="stream_options", **asked, **options)

    assert only(captured).attributes[signals.REQUEST_STREAM] is True
    assert only(captured).attributes[signals.CHUNKS] == len(chunks)
    assert pieces(only(captured)) == [("text", 1)] * 3


def test_usage_can_be_asked_for_in_a_call_by_position(provider: ScriptedProvider) -> None:
    """Options that were given by position, be it none, are left as they are: they cannot be given a second time."""
    where = at(provider, {"letters": LETTERS})
    with capture(request_usage=True) as captured:
        list(litellm.completion("openai/letters", QUESTION, None, None, None, None, True, None, **where))

    assert only(captured).outcome == "completed"
    assert pieces(only(captured)) == [("text", 1)] * 3


# --- Values of a wrong kind ----------------------------------------------------------------------

ODD = {
    "max_tokens": True,
    "n": float("nan"),
    "presence_penalty": 10**400,
    "seed": 1 << 70,
    "stop": 5,
    "temperature": "hot",
    "top_k": float("nan"),
    "top_p": [1],
    "frequency_penalty": None,
    "modalities": 7,
    "reasoning_effort": {"effort": "high"},
    "response_format": {"type": ["text"]},
}


@pytest.mark.parametrize("option", ODD)
def test_an_odd_value_costs_its_attribute_alone(option: str) -> None:
    """What is no number, or one that the protocol has no room for, is left out, and nothing else."""
    fault = {option: ODD[option]}
    whole = {"max_tokens": 9, "seed": 7} if option not in ("max_tokens", "seed") else {"n": 2}
    assert openai_shape.parameters({**whole, **fault}) == openai_shape.parameters(whole)
    assert len(openai_shape.parameters(whole)) == len(whole)


@pytest.mark.parametrize("option", [{"seed": float("inf")}, {"top_k": float("nan")}, {"stop": 5}], ids=str)
def test_a_call_with_an_odd_value_is_recorded(tokenstream: Capture, option: dict[str, Any]) -> None:
    """A value that only the provider could refuse does not cost the span."""
    litellm.completion(**CHAT, **option, mock_response="a")

    assert only(tokenstream).outcome == "completed"


class Unreadable(dict[str, Any]):
    def get(self, key: str, default: Any = None) -> Any:
        raise RuntimeError(key, default)


def test_a_call_with_unreadable_options_is_recorded(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """Options that raise when they are read cost the attributes, not the span."""
    where = at(provider, {"letters": LETTERS})
    list(litellm.completion(**CHAT, response_format=Unreadable(type="text"), stream=True, **where))

    assert only(tokenstream).text == "abc"


# --- The form of the answer ----------------------------------------------------------------------

CONTENTS = [{"role": "user", "parts": [{"text": "Tides?"}]}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": SCHEMA}, "json"),
        ({"response_format": Answer}, "json"),
        ({"response_format": {"type": "text"}}, "text"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "speech"),
        ({"modalities": ["text"]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_form_that_was_asked_for_is_on_the_span(
    provider: ScriptedProvider, tokenstream: Capture, asked: dict[str, Any], form: str | None
) -> None:
    """JSON, plain text or speech, where the request names one."""
    where = at(provider, {"gpt-4o": LETTERS})
    list(litellm.completion(**{**CHAT, "model": "openai/gpt-4o"}, **asked, stream=True, **where))

    assert only(tokenstream).attributes.get(signals.OUTPUT_TYPE) == form


def test_text_completions_may_name_a_form_too(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """``text_completion`` hands the same option on."""
    where = at(provider, {"letters": LETTERS})
    list(litellm.text_completion(**TEXT, response_format={"type": "json_object"}, stream=True, **where))

    assert only(tokenstream).attributes[signals.OUTPUT_TYPE] == "json"


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}}, "json"),
        ({"text": {"format": {"type": "text"}}}, "text"),
        ({"text_format": Answer}, "json"),
        ({"text": {"verbosity": "low"}}, None),
    ],
    ids=str,
)
def test_a_form_of_the_responses_api_is_on_the_span(
    provider: ScriptedProvider, tokenstream: Capture, asked: dict[str, Any], form: str | None
) -> None:
    """There it is ``text.format``."""
    pytest.importorskip("mcp", reason="litellm's responses import it")
    where = at(provider, {"gpt-4o": LETTERS})
    list(litellm.responses(input="Tides?", model="openai/gpt-4o", **asked, stream=True, **where))

    assert only(tokenstream).attributes.get(signals.OUTPUT_TYPE) == form


@pytest.mark.parametrize(
    ("config", "form"),
    [
        ({"responseMimeType": "application/json"}, "json"),
        ({"responseMimeType": "text/plain"}, "text"),
        ({"responseModalities": ["AUDIO"]}, "speech"),
        ({"responseModalities": ["TEXT", "IMAGE"]}, "image"),
        ({"temperature": 0.5}, None),
    ],
    ids=str,
)
def test_a_form_of_geminis_api_is_on_the_span(
    provider: ScriptedProvider, tokenstream: Capture, config: dict[str, Any], form: str | None
) -> None:
    """There it is ``responseMimeType`` or a modality."""
    pytest.importorskip("mcp", reason="litellm's generate_content imports it")
    from litellm import google_genai

    where = at(provider, {"letters": LETTERS})
    list(google_genai.generate_content_stream(model="gemini/letters", contents=CONTENTS, config=config, **where))

    assert only(tokenstream).attributes.get(signals.OUTPUT_TYPE) == form
