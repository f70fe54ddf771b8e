"""What programs do with litellm's ``Router`` beside calling it: mocks, subclasses, shadow traffic."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, Mock, patch

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, attempts, drained, only

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

LETTERS = Script(pieces=["a", "bc"], gap=0.002)
PUBLIC = (
    *("completion", "acompletion", "text_completion", "atext_completion", "aresponses", "anthropic_messages"),
    *("agenerate_content", "generate_content_stream", "get_available_deployment", "set_model_list"),
)


def router(provider: ScriptedProvider, made: Any = litellm.Router, **first: Any) -> Any:
    """Two groups of one deployment each."""
    where = at(provider, {"letters": LETTERS, "shadow": LETTERS})
    return made(
        model_list=[
            {"model_name": "group", "litellm_params": {"model": "deepseek/letters", **where, **first}},
            {"model_name": "shadow-group", "litellm_params": {"model": "deepseek/shadow", **where}},
        ],
        num_retries=0,
    )


def test_a_routers_public_methods_are_those_that_litellm_made(provider: ScriptedProvider) -> None:
    router(provider)  # some versions import the rest only now
    before = {name: getattr(litellm.Router, name, None) for name in PUBLIC}
    with capture():
        router(provider)
        assert {name: getattr(litellm.Router, name, None) for name in PUBLIC} == before
    assert {name: getattr(litellm.Router, name, None) for name in PUBLIC} == before


async def test_a_mock_in_the_place_of_a_routers_method_is_asked_instead(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """On the class and on an object; afterwards the router's own method is there again, and seen."""
    routed = router(provider)
    with patch.object(litellm.Router, "acompletion", AsyncMock(return_value="mocked")):
        assert await router(provider).acompletion(model="group", messages=QUESTION) == "mocked"
    with patch.object(routed, "completion", Mock(return_value="mocked")):
        assert routed.completion(model="group", messages=QUESTION) == "mocked"
    assert tokenstream.generations == []

    await drained(routed.acompletion, model="group", messages=QUESTION)
    await drained(routed.completion, model="group", messages=QUESTION)
    assert [generation.name for generation in tokenstream.generations] == ["chat group"] * 2


async def test_a_routers_call_reads_nothing_that_warns_the_program(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    """Routers warn of members that they will lose."""
    routed = router(provider)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        routed.completion(model="group", messages=QUESTION)
        await routed.acompletion(model="group", messages=QUESTION)

    assert [str(each.message) for each in seen if "otel_tokenstream" in each.filename] == []
    assert [each.attributes[signals.PROVIDER_NAME] for each in tokenstream.generations] == ["deepseek"] * 2


def _subclass() -> type[litellm.Router]:
    class Counting(litellm.Router):
        calls = 0

        async def acompletion(self, *args: Any, **kwargs: Any) -> Any:
            type(self).calls += 1
            return await super().acompletion(*args, **kwargs)

    return Counting


def test_a_subclass_of_a_router_is_made_or_refused_as_without_us() -> None:
    def tried() -> str:
        try:
            return _subclass().__name__
        except TypeError as error:
            return str(error)

    without = tried()
    with capture():
        assert tried() == without


async def test_a_subclass_of_a_router_makes_one_span(provider: ScriptedProvider, tokenstream: Capture) -> None:
    try:
        counting = _subclass()
    except TypeError:
        pytest.skip("this version refuses subclasses")
    await drained(router(provider, counting).acompletion, model="group", messages=QUESTION, stream=True)

    assert counting.calls == 1
    assert only(tokenstream).name == "chat group"


@pytest.mark.skipif(
    not hasattr(litellm.Router, "_silent_experiment_acompletion")
    and not hasattr(litellm.Router, "recover_stream_sync"),
    reason="old routers send no shadow traffic",
)
@pytest.mark.parametrize("name", ["completion", "acompletion"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_routers_mirrored_call_is_a_call_of_its_own(
    provider: ScriptedProvider, tokenstream: Capture, name: str, stream: bool
) -> None:
    """It runs beside the call that it mirrors, and is no attempt of that one."""
    routed = router(provider, silent_model="shadow-group")
    await drained(getattr(routed, name), model="group", messages=QUESTION, stream=stream)
    while len(tokenstream.generations) < 2:
        await asyncio.sleep(0.01)

    told = {generation.name: generation for generation in tokenstream.generations}
    assert set(told) == {"chat group", "chat shadow-group"}
    assert not any(map(attempts, told.values()))
    assert {generation.attributes[signals.PROVIDER_NAME] for generation in told.values()} == {"deepseek"}
