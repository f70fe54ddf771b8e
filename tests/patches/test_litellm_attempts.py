from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.integrations.custom_logger import CustomLogger

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from tests.patches.litellm_entries import QUESTION, at, attempts, drained, only, pieces

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

# Not openai/: there its own client retries, below litellm.
FAILING = Script(ending="http_error", status=500)
LETTERS = Script(pieces=["a", "bc"], gap=0.002, response_model="letters-2")
both_ways = pytest.mark.parametrize("name", ["completion", "acompletion"])
pytestmark = pytest.mark.skipif(
    not hasattr(litellm.CustomStreamWrapper, "_record_usage_only_chunk"),
    reason="old versions of litellm leave retries to the client below them",
)
streamed_or_not = pytest.mark.parametrize("stream", [True, False])


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    with suppress(ImportError):  # of other versions
        monkeypatch.setattr("litellm.router_rust.core._sleep_seconds", lambda _: 0.01, raising=False)


@both_ways
@streamed_or_not
async def test_each_retry_is_an_attempt(
    provider: ScriptedProvider, tokenstream: Capture, name: str, stream: bool
) -> None:
    """num_retries: one span with an event for each attempt, in its order, with its error."""
    where = at(provider, {"letters": [FAILING, FAILING, LETTERS]})
    call: dict[str, Any] = {"model": "deepseek/letters", "messages": QUESTION, "num_retries": 2, "stream": stream}
    await drained(getattr(litellm, name), **call, **where)

    generation = only(tokenstream)
    assert generation.outcome == "completed"
    assert generation.attributes[signals.ATTEMPTS] == len(provider.log.settled(3)) == 3
    errors = [error for _, _, error in attempts(generation)]
    assert errors[:2] == ["InternalServerError"] * 2
    assert errors[2] is None


async def test_an_attempt_has_its_own_times(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The event stands at the attempt's start; its duration is that of the attempt and not of the call."""
    where = at(provider, {"letters": [Script(ending="http_error", before_headers=0.2), LETTERS]})
    call: dict[str, Any] = {"model": "deepseek/letters", "messages": QUESTION, "num_retries": 1}
    await drained(litellm.acompletion, **call, **where)

    first, second = (event for event in only(tokenstream).events if event.name == signals.ATTEMPT_EVENT)
    assert first.attributes[signals.AT_DURATION_US] >= 200_000
    assert second.attributes[signals.AT_OFFSET_US] >= first.attributes[signals.AT_DURATION_US]
    apart = second.attributes[signals.AT_OFFSET_US] - first.attributes[signals.AT_OFFSET_US]
    assert second.attributes[signals.AT_GAP_US] == pytest.approx(apart, abs=1)
    assert second.at > first.at


@both_ways
async def test_a_fallback_is_an_attempt_at_another_model(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """fallbacks=: the model asked for on the span, the one that answered beside it, each with its attempt."""
    where = at(provider, {"broken": FAILING, "letters": LETTERS})
    call: dict[str, Any] = {"model": "deepseek/broken", "messages": QUESTION, "fallbacks": ["hosted_vllm/letters"]}
    # Streamed by a sync call, litellm itself falls back to a stream that cannot be read.
    await drained(getattr(litellm, name), **call, stream=name == "acompletion", **where)

    generation = only(tokenstream)
    assert [model for _, model, _ in attempts(generation)] == ["broken", "letters"]
    assert generation.attributes[signals.REQUEST_MODEL] == "broken"
    assert generation.attributes[signals.RESPONSE_MODEL] == "letters-2"
    assert generation.attributes[signals.PROVIDER_NAME] == "hosted_vllm"


def test_a_call_that_succeeds_at_once_has_no_attempts(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """One attempt says nothing that the span does not say."""
    litellm.completion(model="deepseek/letters", messages=QUESTION, **at(provider, {"letters": LETTERS}))

    assert attempts(only(tokenstream)) == []
    assert signals.ATTEMPTS not in only(tokenstream).attributes


def test_very_many_attempts_keep_the_first_and_the_last(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """All are counted; the events stay within their budget."""
    where = at(provider, {"letters": [*[FAILING] * 11, LETTERS]})
    litellm.completion(model="deepseek/letters", messages=QUESTION, num_retries=11, **where)

    assert only(tokenstream).attributes[signals.ATTEMPTS] == 12
    assert [number for number, _, _ in attempts(only(tokenstream))] == [1, 2, 3, 4, 5, 6, 7, 12]


# --- Router ------------------------------------------------------------------------------------


def router(provider: ScriptedProvider, company: str = "deepseek", **models: Script | list[Script]) -> litellm.Router:
    """A group of one deployment for each model; where one fails, the group ``letters`` answers."""
    where = at(provider, {**models, "letters": LETTERS})
    deployments = [
        {"model_name": f"{model}-group", "litellm_params": {"model": f"{company}/{model}", **where}}
        for model in (*models, "letters")
    ]
    fallbacks = [{f"{model}-group": ["letters-group"]} for model in models]
    return litellm.Router(model_list=deployments, fallbacks=fallbacks, num_retries=1, retry_after=0)


@both_ways
@streamed_or_not
async def test_a_routers_retries_and_fallbacks_are_one_span(
    provider: ScriptedProvider, tokenstream: Capture, name: str, stream: bool
) -> None:
    """The group that was asked for is the span's model; every deployment tried is an attempt."""
    call: dict[str, Any] = {"model": "broken-group", "messages": QUESTION, "stream": stream}
    await drained(getattr(router(provider, broken=FAILING), name), **call)

    generation = only(tokenstream)
    assert generation.name == "chat broken-group"
    assert generation.outcome == "completed"
    assert [model for _, model, _ in attempts(generation)] == ["broken", "broken", "letters"]
    assert generation.attributes[signals.PROVIDER_NAME] == "deepseek"
    assert generation.attributes[signals.SERVER_PORT] == provider.port


async def test_a_sync_router_on_a_running_loop_is_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """litellm then works on a loop in a thread of its own, which does not know the caller's context."""
    router(provider, broken=FAILING).completion("broken-group", QUESTION)

    assert len(attempts(only(tokenstream))) == 3


async def test_a_routers_text_completion_is_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """The same way in for every function of a router that asks a model."""
    routed = router(provider, broken=FAILING)
    await drained(routed.atext_completion, model="broken-group", prompt="Tides?", stream=True)

    assert only(tokenstream).name == "text_completion broken-group"
    assert pieces(only(tokenstream)) == [("text", 1), ("text", 2)]


CONTENTS = {"contents": [{"parts": [{"text": "Tides?"}]}]}


RESPONSES = ("deepseek", {"input": "Tides?", "stream": True}, "chat letters-group")
GENERATE_CONTENT = ("gemini", CONTENTS, "generate_content letters-group")


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("responses", RESPONSES),
        ("aresponses", RESPONSES),
        ("generate_content", GENERATE_CONTENT),
        ("agenerate_content", GENERATE_CONTENT),
        ("generate_content_stream", GENERATE_CONTENT),
        ("agenerate_content_stream", GENERATE_CONTENT),
    ],
)
async def test_a_routers_other_apis_have_the_groups_name(
    provider: ScriptedProvider, tokenstream: Capture, name: str, about: tuple[str, dict[str, Any], str]
) -> None:
    """They take another way through the router, without retries: the model is what was asked for there too."""
    pytest.importorskip("mcp", reason="litellm's responses import it")
    company, asked, expected = about
    result = getattr(router(provider, company), name)(model="letters-group", **asked)
    streamed = "stream" in name or "stream" in asked
    if name.startswith("a"):
        result = await result
        assert not streamed or [chunk async for chunk in result]
    else:
        assert not streamed or list(result)

    generation = only(tokenstream)
    assert (generation.name, generation.outcome) == (expected, "completed")
    assert generation.attributes.get(signals.REQUEST_STREAM, False) is streamed


async def test_a_sync_router_in_a_running_loop_keeps_the_callers_trace(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """litellm works in a thread of its own then, which knows of no span."""
    with tokenstream.tracer_provider.get_tracer("program").start_as_current_span("program") as program:
        list(router(provider).completion("letters-group", QUESTION, stream=True))

    parent = only(tokenstream).span.parent
    assert parent is not None
    assert parent.span_id == program.get_span_context().span_id


async def test_a_routers_embeddings_are_no_generation(provider: ScriptedProvider, tokenstream: Capture) -> None:
    """They pass through the same method and are not ours."""
    with pytest.raises(litellm.exceptions.BadRequestError):
        await router(provider).aembedding("letters-group", input=["Tides?"])

    assert tokenstream.generations == []


@both_ways
async def test_a_stream_that_breaks_before_content_is_continued_by_another(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """An error under HTTP 200, and the router falls back: the break and the answer are both told, nothing twice.

    Where litellm reads ahead before it returns the stream, both are attempts of one call.
    Where it notices while the caller reads, the answer is a second generation: a span of its
    own under the first, linked to it.
    """
    broken = Script(pieces=["a"], gap=0, ends_after=0, ending="error_frame")
    call: dict[str, Any] = {"model": "broken-group", "messages": QUESTION, "stream": True}
    chunks = await drained(getattr(router(provider, broken=broken), name), **call)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "abc"
    generations = tokenstream.generations
    assert pieces(generations[-1]) == [("text", 1), ("text", 2)]
    assert generations[-1].outcome == "completed"
    if len(generations) == 1:
        assert [error is None for _, _, error in attempts(generations[0])][-2:] == [False, True]
    else:
        before, after = generations
        assert before.outcome == "failed"
        assert before.attributes[signals.FINISH_REASONS] == ("error",)
        assert after.parent is before.span
        (link,) = after.span.links
        assert link.context.span_id == before.span.context.span_id


class Judged(litellm.CustomLLM):
    """A program's own provider, which asks two models."""

    def __init__(self, **where: Any) -> None:
        super().__init__()
        self._where = where

    def completion(self, *_: Any, **__: Any) -> Any:
        litellm.completion("deepseek/letters", QUESTION, **self._where)
        return litellm.completion("deepseek/judge", QUESTION, **self._where)

    async def acompletion(self, *_: Any, **__: Any) -> Any:
        await litellm.acompletion("deepseek/letters", QUESTION, **self._where)
        return await litellm.acompletion("deepseek/judge", QUESTION, **self._where)


@both_ways
async def test_calls_of_a_custom_provider_are_calls_of_their_own(
    provider: ScriptedProvider, tokenstream: Capture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The call is to that provider, which answered it at once; whom its code asked has a span below."""
    judged = Judged(**at(provider, {"letters": LETTERS, "judge": LETTERS}))
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "judged", "custom_handler": judged}])
    await drained(getattr(litellm, name), model="judged/x", messages=QUESTION)

    *asked, generation = tokenstream.generations
    assert len(provider.log.settled(2)) == 2
    assert signals.ATTEMPTS not in generation.attributes
    assert attempts(generation) == []
    assert generation.attributes[signals.PROVIDER_NAME] == "judged"
    assert {each.span.parent.span_id for each in asked} == {generation.span.context.span_id}
    assert [each.attributes[signals.PROVIDER_NAME] for each in asked] == ["deepseek"] * 2


class Judge(CustomLogger):
    """A callback that has a model look at each prompt, answer or error."""

    def __init__(self, when: str, **where: Any) -> None:
        super().__init__()
        self._when = when
        self._where = where

    def _asks(self, when: str, kwargs: dict[str, Any]) -> bool:
        return when == self._when and kwargs["model"] != "judge"

    def _ask(self, when: str, kwargs: dict[str, Any]) -> None:
        if self._asks(when, kwargs):
            litellm.completion("openai/judge", QUESTION, **self._where)

    def log_pre_api_call(self, model: str, messages: object, kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        self._ask("before", kwargs)

    def log_post_api_call(self, kwargs: dict[str, Any], *_: object, **__: object) -> None:
        self._ask("after", kwargs)

    def log_failure_event(self, kwargs: dict[str, Any], *_: object, **__: object) -> None:
        self._ask("failed", kwargs)

    async def async_log_failure_event(self, kwargs: dict[str, Any], *_: object, **__: object) -> None:
        if self._asks("failed, async", kwargs):
            await litellm.acompletion("openai/judge", QUESTION, **self._where)


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("completion", "before"),
        ("acompletion", "before"),
        ("completion", "after"),
        ("acompletion", "after"),
        ("completion", "failed"),
        ("acompletion", "failed, async"),
    ],
)
async def test_a_call_of_a_callback_is_a_call_of_its_own(
    provider: ScriptedProvider, tokenstream: Capture, callbacks: list[object], name: str, when: str
) -> None:
    """litellm runs it within the call, or beside it."""
    model = "broken" if "failed" in when else "letters"
    where = at(provider, {"letters": LETTERS, "judge": LETTERS, "broken": Script(ending="http_error", status=400)})
    callbacks.append(Judge(when, **where))
    with suppress(litellm.BadRequestError):
        await drained(getattr(litellm, name), model=f"openai/{model}", messages=QUESTION, **where)
    while len(provider.log.exchanges()) < 2:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(provider.log.settled, 2)
    while len(tokenstream.generations) < len(provider.log.exchanges()):  # litellm may run it twice for an async call
        await asyncio.sleep(0.01)

    asked = [generation.attributes[signals.REQUEST_MODEL] for generation in tokenstream.generations]
    assert sorted(asked) == sorted([model, *["judge"] * (len(asked) - 1)])
    assert not any(map(attempts, tokenstream.generations))


async def test_a_sync_call_that_litellm_makes_on_a_loop_of_its_own_is_one_span(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """A search in files that litellm stands in for, asked for where a loop is running: it takes another thread."""
    where = at(provider, {"letters": LETTERS})
    tools = [{"type": "file_search", "vector_store_ids": ["notes"]}]
    litellm.responses(model="deepseek/letters", input="Tides?", tools=tools, **where)

    assert only(tokenstream).attributes[signals.REQUEST_MODEL] == "letters"
