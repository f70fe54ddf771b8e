"""A router that replaces a stream which broke: one span, with an attempt that failed."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from tests.patches.litellm_entries import QUESTION, at, attempts, drained, only, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture, Generation

pytestmark = pytest.mark.skipif(
    not hasattr(litellm.Router, "_completion_streaming_iterator")
    and not hasattr(litellm.Router, "recover_stream_sync"),
    reason="old routers do not replace a broken stream",
)

PAUSE = 0.3
LETTERS = Script(pieces=["a", "bc"], gap=0.002, response_model="letters-2")
CHAT = {"messages": QUESTION, "stream": True}
RESPONSES = {"input": "Tides?", "stream": True}
MESSAGES = {"messages": QUESTION, "max_tokens": 9, "stream": True}
GPT, GPT_MINI = "openai/gpt-4o", "openai/gpt-4o-mini"
CLAUDE, OPUS = "anthropic/claude-sonnet-4-5", "anthropic/claude-opus-4-5"
WAYS = [
    pytest.param("completion", "deepseek/broken", "hosted_vllm/letters", CHAT, id="completion"),
    pytest.param("acompletion", "deepseek/broken", "hosted_vllm/letters", CHAT, id="acompletion"),
    pytest.param("aresponses", GPT, GPT_MINI, RESPONSES, id="aresponses"),
    pytest.param("aresponses", "deepseek/broken", "hosted_vllm/letters", RESPONSES, id="aresponses over chat"),
    pytest.param("anthropic_messages", "groq/broken", "hosted_vllm/letters", MESSAGES, id="messages over chat"),
    pytest.param("anthropic_messages", CLAUDE, OPUS, MESSAGES, id="messages"),
]
each_way = pytest.mark.parametrize(("name", "first", "second", "about"), WAYS)

broken = pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Script(pieces=["x"], first_piece=PAUSE, ends_after=0, ending="error_frame"), id="error"),
        pytest.param(Script(pieces=[], first_piece=PAUSE, ending="cut"), id="cut"),
    ],
)


def router(provider: ScriptedProvider, scripts: dict[str, Script], **more: Any) -> litellm.Router:
    """A group for each model, where the first one falls back to the others in their order."""
    at(provider, {model.partition("/")[2]: script for model, script in scripts.items()})
    deployments = [
        {
            "model_name": f"group-{number}",
            "litellm_params": {
                "model": model,
                "api_base": provider.address if model.startswith("anthropic/") else provider.base_url,
                "api_key": "none",
                "max_retries": 0,
            },
        }
        for number, model in enumerate(scripts)
    ]
    others = [each["model_name"] for each in deployments[1:]]
    return litellm.Router(
        model_list=deployments, fallbacks=[{"group-0": others}], num_retries=0, disable_cooldowns=True, **more
    )


async def asked(routed: litellm.Router, name: str, about: dict[str, Any]) -> list[Any]:
    if "responses" in name or "messages" in name:
        pytest.importorskip("mcp", reason="litellm's responses import it")
    return await drained(getattr(routed, name), model="group-0", **about)


def attempted(generation: Generation) -> list[tuple[str, bool]]:
    """(model, whether it failed) of each attempt."""
    return [(model, error is not None) for _, model, error in attempts(generation)]


def bare(model: str) -> str:
    return model.partition("/")[2]


@each_way
@broken
async def test_a_stream_that_broke_before_the_program_had_any_of_it_is_an_attempt(
    provider: ScriptedProvider,
    tokenstream: Capture,
    name: str,
    first: str,
    second: str,
    about: dict[str, Any],
    broken: Script,
) -> None:
    """The program made one call and read one flawless stream: the wait for its first token began with the call."""
    await asked(router(provider, {first: broken, second: LETTERS}), name, about)

    generation = only(tokenstream)
    assert generation.name == "chat group-0"
    assert generation.outcome == "completed"
    assert signals.ERROR_TYPE not in generation.attributes
    assert attempted(generation) == [(bare(first), True), (bare(second), False)]
    assert sum(chars for _, chars in pieces(generation)) == 3
    assert generation.attributes[signals.TIME_TO_FIRST_TOKEN_MS] >= PAUSE * 1000
    assert not generation.span.links
    failed, answered = (event.attributes for event in generation.events if event.name == signals.ATTEMPT_EVENT)
    assert failed[signals.AT_DURATION_US] >= PAUSE * 1e6
    assert answered[signals.AT_OFFSET_US] >= failed[signals.AT_OFFSET_US] + failed[signals.AT_DURATION_US]


@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_whoever_answers_in_the_end_is_the_spans_provider(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    broken = Script(pieces=[], ending="cut")
    await asked(router(provider, {"deepseek/broken": broken, "hosted_vllm/letters": LETTERS}), name, CHAT)

    told = only(tokenstream).attributes
    assert told[signals.PROVIDER_NAME] == "hosted_vllm"
    assert told.get(signals.RESPONSE_MODEL, "letters-2") == "letters-2"  # some versions lose it


@each_way
async def test_the_last_of_several_broken_streams_fails_the_call(
    provider: ScriptedProvider, tokenstream: Capture, name: str, first: str, second: str, about: dict[str, Any]
) -> None:
    broken = Script(pieces=[], ending="cut")
    with suppress(Exception):  # over a bridge the error may be content
        await asked(router(provider, {first: broken, second: broken}), name, about)

    generation = only(tokenstream)
    assert generation.outcome == "failed"
    assert attempted(generation) == [(bare(first), True), (bare(second), True)]


@each_way
async def test_a_stream_that_broke_after_content_and_is_not_replaced_fails_the_call(
    provider: ScriptedProvider, tokenstream: Capture, name: str, first: str, second: str, about: dict[str, Any]
) -> None:
    routed = router(provider, {first: Script(pieces=["x", "y"], gap=0.1, ending="reset"), second: LETTERS})
    with suppress(Exception):
        await asked(routed, name, {**about, "disable_fallbacks": True})

    assert only(tokenstream).outcome == "failed"
    assert attempts(only(tokenstream)) == []


def is_one_call_that_went_on(generation: Generation, first: str, second: str) -> None:
    assert generation.name == "chat group-0"
    assert generation.outcome == "completed"
    assert attempted(generation) == [(bare(first), True), (bare(second), False)]
    (token,) = (event for event in generation.events if event.name == signals.FIRST_TOKEN_EVENT)
    _, went_on = (event for event in generation.events if event.name == signals.ATTEMPT_EVENT)
    assert token.attributes[signals.AT_OFFSET_US] < went_on.attributes[signals.AT_OFFSET_US]
    assert sum(chars for _, chars in pieces(generation)) == 5
    assert generation.attributes.get(signals.USAGE_SOURCE, "estimated") == "estimated"
    assert not generation.span.links
    assert generation.span.parent is None


BREAKS_AFTER_CONTENT = Script(pieces=["x", "y"], gap=[0.0, PAUSE * 2], ending="error_frame")


@pytest.mark.parametrize(("first", "second"), [(GPT, GPT_MINI), ("deepseek/broken", "hosted_vllm/letters")])
async def test_an_answer_that_went_on_after_content_is_one_call(
    provider: ScriptedProvider, tokenstream: Capture, first: str, second: str
) -> None:
    """What the program had is kept, and the rest is another model's: times and texts are those of its one stream."""
    await asked(router(provider, {first: BREAKS_AFTER_CONTENT, second: LETTERS}), "aresponses", RESPONSES)

    is_one_call_that_went_on(only(tokenstream), first, second)


@pytest.mark.skipif(
    "enable_mid_stream_fallback_continuation" not in inspect.signature(litellm.Router.__init__).parameters,
    reason="this version's chat does not go on after content",
)
async def test_a_chat_that_went_on_after_content_is_one_call(provider: ScriptedProvider, tokenstream: Capture) -> None:
    models = ("deepseek/deepseek-chat", "deepseek/deepseek-coder")  # known to go on with an answer they are given
    scripts = dict(zip(models, (BREAKS_AFTER_CONTENT, LETTERS), strict=True))
    routed = router(provider, scripts, enable_mid_stream_fallback_continuation=True)
    await asked(routed, "acompletion", CHAT)

    is_one_call_that_went_on(only(tokenstream), *models)
    assert only(tokenstream).attributes[signals.RESPONSE_MODEL] == "letters-2"


class Searching(litellm.CustomLLM):
    """A program's own provider, whose stream asks a router for embeddings that fail, fallbacks included."""

    def __init__(self, routed: litellm.Router) -> None:
        super().__init__()
        self._routed = routed

    async def astreaming(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for text, reason in (("a", ""), ("b", "stop")):
            yield {
                "text": text,
                "is_finished": bool(reason),
                "finish_reason": reason,
                "index": 0,
                "tool_use": None,
                "usage": None,
            }
            with suppress(Exception):
                await self._routed.aembedding("group-0", input=["Tides?"])


async def test_other_work_of_a_router_is_no_recovery_of_the_stream(
    provider: ScriptedProvider, tokenstream: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed = router(provider, {"deepseek/broken": LETTERS, "hosted_vllm/letters": LETTERS})
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "own", "custom_handler": Searching(routed)}])
    await drained(litellm.acompletion, model="own/x", messages=QUESTION, stream=True)

    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert signals.RESPONSE_ID in generation.attributes
