"""Models that the program's own hooks ask while litellm makes a call: each is a call of its own."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from litellm.caching.base_cache import BaseCache
from litellm.caching.caching import Cache
from litellm.exceptions import BadRequestError
from litellm.integrations.custom_logger import CustomLogger
from litellm.llms.custom_httpx import llm_http_handler
from litellm.router import Router
from litellm.types.caching import LiteLLMCacheType
from litellm.types.router import CustomRoutingStrategyBase

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, attempts, drained, usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

BROKEN = Script(ending="http_error", status=400)
LETTERS = Script(pieces=["a", "bc"], gap=0.002, usage=Usage(input=10, output=3))
VERDICT = Script(pieces=["fine"], gap=0, usage=Usage(input=2, output=1))

both_ways = pytest.mark.parametrize("name", ["completion", "acompletion"])
streamed_or_not = pytest.mark.parametrize("stream", [True, False])


class Judge:
    """Asks a model of another provider, at another address, the first time that it is asked."""

    def __init__(self, provider: ScriptedProvider, verdict: Script = VERDICT) -> None:
        provider.scripts["judge"] = verdict
        self.asked = False
        self._provider = provider

    def _arguments(self) -> dict[str, Any]:
        address = self._provider.address.replace("127.0.0.1", "localhost")
        return {"model": "anthropic/judge", "messages": QUESTION, "api_base": address, "api_key": "none"}

    def ask(self) -> None:
        if not self.asked:
            self.asked = True
            with suppress(BadRequestError):
                litellm.completion(**self._arguments())

    async def aask(self) -> None:
        if not self.asked:
            self.asked = True
            with suppress(BadRequestError):
                await litellm.acompletion(**self._arguments())


def hooking(judge: Judge, hook: str, answer: str | None = None) -> CustomLogger:
    """Return a callback whose only hook asks the judge, and gives back its argument of the name ``answer``."""
    if not hasattr(CustomLogger, hook):
        pytest.skip(f"this version has no {hook}")

    def method(*_: Any, **kwargs: Any) -> Any:
        judge.ask()
        return None if answer is None else kwargs[answer]

    async def amethod(*_: Any, **kwargs: Any) -> Any:
        await judge.aask()
        return None if answer is None else kwargs[answer]

    made = amethod if hook.startswith("async") else method
    callback: CustomLogger = type("Hooking", (CustomLogger,), {hook: made})()
    return callback


def assert_apart(tokenstream: Capture, judge: Judge, model: str = "letters", provider: str = "deepseek") -> None:
    """Check that the call tells of nothing but itself, and that the judge's is a call below it."""
    assert judge.asked
    told = {generation.attributes[signals.REQUEST_MODEL]: generation for generation in tokenstream.generations}
    assert set(told) == {model, "judge"}
    assert len(tokenstream.generations) == 2
    assert not any(map(attempts, told.values()))
    call, asked = told[model], told["judge"]
    assert signals.ATTEMPTS not in call.attributes
    assert call.attributes[signals.PROVIDER_NAME] == provider
    assert call.attributes["server.address"] == "127.0.0.1"
    assert asked.attributes[signals.PROVIDER_NAME] == "anthropic"
    assert asked.attributes["server.address"] == "localhost"
    assert asked.parent is call.span


@pytest.mark.parametrize(
    ("hook", "model", "stream"),
    [
        ("async_pre_call_deployment_hook", "letters", False),
        ("async_pre_call_deployment_hook", "letters", True),
        ("async_post_call_success_deployment_hook", "letters", False),  # litellm runs none after a stream
        ("async_post_call_failure_deployment_hook", "broken", False),
        ("async_post_call_failure_deployment_hook", "broken", True),
    ],
)
@pytest.mark.parametrize("verdict", [VERDICT, BROKEN])
async def test_a_model_that_a_hook_around_the_request_asks_is_a_call_of_its_own(
    provider: ScriptedProvider,
    tokenstream: Capture,
    callbacks: list[object],
    hook: str,
    model: str,
    stream: bool,
    verdict: Script,
) -> None:
    """It has its usage and its failure, and leaves the provider and server of the call as they are."""
    judge = Judge(provider, verdict)
    where = at(provider, {"letters": LETTERS, "broken": BROKEN})
    callbacks.append(hooking(judge, hook))
    with suppress(BadRequestError):
        await drained(litellm.acompletion, model=f"deepseek/{model}", messages=QUESTION, stream=stream, **where)

    assert_apart(tokenstream, judge, model)
    told = {generation.attributes[signals.REQUEST_MODEL]: generation for generation in tokenstream.generations}
    assert told["judge"].outcome == ("completed" if verdict is VERDICT else "failed")
    assert usage(told["judge"]).get("input") == (2 if verdict is VERDICT else None)


async def test_a_hook_around_the_request_of_a_sync_responses_call_is_set_apart_too(
    provider: ScriptedProvider, tokenstream: Capture, callbacks: list[object]
) -> None:
    """litellm runs it on a loop of its own, from a module that has copied the function's name."""
    if not hasattr(llm_http_handler, "_has_pre_call_deployment_hook"):
        pytest.skip("this version runs no hook here")
    judge = Judge(provider)
    where = at(provider, {"letters": LETTERS})
    callbacks.append(hooking(judge, "async_pre_call_deployment_hook"))
    await drained(litellm.responses, model="openai/letters", input="Tides?", **where)

    assert_apart(tokenstream, judge, provider="openai")


def router(provider: ScriptedProvider) -> Router:
    """Two deployments of one group: a router asks its callbacks which of them to take."""
    where = at(provider, {"letters": LETTERS})
    deployments = [{"model_name": "group", "litellm_params": {"model": "deepseek/letters", **where}} for _ in range(2)]
    made: Router = Router(model_list=deployments, num_retries=0)
    return made


@pytest.mark.parametrize(
    ("name", "hook", "answer"),
    [
        ("acompletion", "async_filter_deployments", "healthy_deployments"),
        ("acompletion", "async_pre_call_check", None),
        ("completion", "pre_call_check", None),
    ],
)
@streamed_or_not
async def test_a_model_that_a_routers_callback_asks_is_a_call_of_its_own(
    provider: ScriptedProvider,
    tokenstream: Capture,
    callbacks: list[object],
    name: str,
    hook: str,
    answer: str | None,
    stream: bool,
) -> None:
    judge = Judge(provider)
    callbacks.append(hooking(judge, hook, answer))
    routed = router(provider)  # some versions put another list in the place of litellm's
    await drained(getattr(routed, name), model="group", messages=QUESTION, stream=stream)

    assert_apart(tokenstream, judge, "group")


class Strategy(CustomRoutingStrategyBase):
    """A routing strategy of the program's, which has a model choose."""

    def __init__(self, judge: Judge, deployment: Any) -> None:
        self._judge = judge
        self._deployment = deployment

    def get_available_deployment(self, *_: Any, **__: Any) -> Any:
        self._judge.ask()
        return self._deployment

    async def async_get_available_deployment(self, *_: Any, **__: Any) -> Any:
        await self._judge.aask()
        return self._deployment


def strategic(routed: Router, judge: Judge) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of both names, in new versions
        routed.set_custom_routing_strategy(Strategy(judge, routed.model_list[0]))


@both_ways
@streamed_or_not
async def test_a_model_that_a_routing_strategy_asks_is_a_call_of_its_own(
    provider: ScriptedProvider, tokenstream: Capture, name: str, stream: bool
) -> None:
    judge, routed = Judge(provider), router(provider)
    strategic(routed, judge)
    await drained(getattr(routed, name), model="group", messages=QUESTION, stream=stream)

    assert_apart(tokenstream, judge, "group")


@both_ways
async def test_a_routing_strategy_that_was_set_while_nothing_was_instrumented_still_chooses(
    provider: ScriptedProvider, name: str
) -> None:
    """And one that was set before keeps on choosing afterwards."""
    judge, routed = Judge(provider), router(provider)
    with capture():
        strategic(routed, judge)
    await drained(getattr(routed, name), model="group", messages=QUESTION)

    assert judge.asked


class Remembering(BaseCache):
    """A cache of the program's that knows no answer, and has a model judge what it is asked or given."""

    def __init__(self, asking: Judge | None, storing: Judge | None) -> None:
        super().__init__()
        self._asking = asking
        self._storing = storing

    def get_cache(self, *_: Any, **__: Any) -> None:
        if self._asking is not None:
            self._asking.ask()

    async def async_get_cache(self, *_: Any, **__: Any) -> None:
        if self._asking is not None:
            await self._asking.aask()

    def set_cache(self, *_: Any, **__: Any) -> None:
        if self._storing is not None:
            self._storing.ask()

    async def async_set_cache(self, *_: Any, **__: Any) -> None:
        if self._storing is not None:
            await self._storing.aask()

    async def async_set_cache_pipeline(self, *_: Any, **__: Any) -> None: ...

    async def batch_cache_write(self, *_: Any, **__: Any) -> None: ...


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseCache], None]:
    """Let litellm use a cache of the program's for one test."""
    for name in ("fastapi", "soundfile"):
        pytest.importorskip(name, reason="litellm's cache imports its proxy")
    made = Cache(type=LiteLLMCacheType.LOCAL)

    def use(own: BaseCache) -> None:
        made.cache = own
        monkeypatch.setattr(litellm, "cache", made)

    return use


@both_ways
@pytest.mark.parametrize("when", ["asked", "given"])
async def test_a_model_that_a_cache_of_the_programs_asks_is_a_call_of_its_own(
    provider: ScriptedProvider,
    tokenstream: Capture,
    callbacks: list[object],  # noqa: ARG001
    cached: Callable[[BaseCache], None],
    name: str,
    when: str,
) -> None:
    """litellm asks it within the call; it writes the answer there within a sync call, and beside an async one."""
    judge = Judge(provider)
    cached(Remembering(judge if when == "asked" else None, judge if when == "given" else None))
    where = at(provider, {"letters": LETTERS})
    await drained(getattr(litellm, name), model="deepseek/letters", messages=QUESTION, **where)
    while len(tokenstream.generations) < 2:
        await asyncio.sleep(0.01)

    assert_apart(tokenstream, judge)
