from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, Usage
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, at, drained, only, usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

COUNTED = Script(pieces=["a", "bc"], gap=0.002, usage=Usage(input=1000, output=500, cached=400))
# gpt-4o in litellm's table: 2.5 USD for a million tokens of input, half of that for cached ones, 10 for output.
COST = (600 * 2.5 + 400 * 1.25 + 500 * 10) / 1e6
ENTRIES = ["completion", "acompletion", "text_completion", "atext_completion"]
every_entry = pytest.mark.parametrize("name", ENTRIES)

pytestmark = pytest.mark.skipif(
    not hasattr(litellm.CustomStreamWrapper, "_record_usage_only_chunk"),
    reason="old versions of litellm cannot keep usage to themselves",
)


@pytest.fixture
def asking() -> Iterator[Capture]:
    with capture(request_usage=True) as captured:
        yield captured


async def chunks_of(provider: ScriptedProvider, name: str, script: Script, **more: Any) -> list[Any]:
    prompt = {"prompt": "Tides?"} if "text" in name else {"messages": QUESTION}
    asked = {"model": "openai/gpt-4o", "stream": True, **prompt, **at(provider, {"gpt-4o": script}), **more}
    if "text" in name:
        asked["model"] = "deepseek/gpt-4o"
    try:
        chunks = await drained(getattr(litellm, name), **asked)
    except litellm.exceptions.ServiceUnavailableError as error:  # new versions miss the finish reason
        return [type(error).__name__]
    return [json.dumps({**chunk.model_dump(), "id": "", "created": 0}, default=str) for chunk in chunks]


@every_entry
@pytest.mark.parametrize("ending", ["natural", "none"])
@pytest.mark.parametrize("options", [None, {"include_usage": True}, {"include_usage": False}])
async def test_the_program_sees_usage_only_if_it_asked_for_it(
    provider: ScriptedProvider, name: str, ending: Any, options: dict[str, Any] | None
) -> None:
    """Asking for usage changes no chunk, adds none and leaves none out, whatever the program asked for."""
    script = Script(pieces=["a", "bc"], gap=0.002, ending=ending, usage=Usage(input=1000, output=500))
    more = {} if options is None else {"stream_options": options}
    bare = await chunks_of(provider, name, script, **more)
    with capture(request_usage=True):
        ours = await chunks_of(provider, name, script, **more)

    assert ours == bare


@every_entry
async def test_usage_is_reported_where_it_is_asked_for(provider: ScriptedProvider, asking: Capture, name: str) -> None:
    """The request asks for usage, and the span has it."""
    await chunks_of(provider, name, COUNTED)

    request = json.loads(provider.log.settled(1)[0].body)
    assert request["stream_options"] == {"include_usage": True}
    assert usage(only(asking)) == {"input": 1000, "output": 500, "cached": 400, "reasoning": 0, "source": "provider"}


async def test_a_program_that_forbids_it_is_obeyed(provider: ScriptedProvider, asking: Capture) -> None:
    """include_usage=False is a wish as well: the request stays as it is."""
    await chunks_of(provider, "acompletion", COUNTED, stream_options={"include_usage": False})

    assert json.loads(provider.log.settled(1)[0].body)["stream_options"] == {"include_usage": False}
    assert usage(only(asking)) == {}


@pytest.mark.parametrize("name", ["completion", "acompletion"])
@pytest.mark.parametrize("stream", [True, False])
async def test_cached_tokens_are_priced_as_such(
    provider: ScriptedProvider, asking: Capture, name: str, stream: bool
) -> None:
    """The price of litellm's table, for streams as for plain answers, on the span and in the counter."""
    call: dict[str, Any] = {"model": "openai/gpt-4o", "messages": QUESTION, "stream": stream}
    await drained(getattr(litellm, name), **call, **at(provider, {"gpt-4o": COUNTED}))

    assert only(asking).attributes[signals.COST_USD] == pytest.approx(COST)
    (point,) = asking.metrics[signals.COST]
    assert point.value == pytest.approx(COST)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("ask", "model", "given"),
    [
        (litellm.responses, "openai/gpt-4o", {"input": "Tides?"}),
        (litellm.aresponses, "openai/gpt-4o", {"input": "Tides?"}),
        (litellm.responses, "anthropic/claude-sonnet-4-5", {"input": "Tides?"}),
        (litellm.anthropic_messages, "anthropic/claude-sonnet-4-5", {"messages": QUESTION, "max_tokens": 9}),
    ],
    ids=["responses", "aresponses", "responses over chat", "messages"],
)
async def test_an_answer_of_any_api_has_its_cost(
    provider: ScriptedProvider, asking: Capture, ask: Any, model: str, given: dict[str, Any], stream: bool
) -> None:
    """A plain one's is what litellm puts beside it."""
    served = model.partition("/")[2]
    asked = {**given, **at(provider, {served: COUNTED})}
    if model.startswith("anthropic/"):
        asked["api_base"] = provider.address
    await drained(ask, model=model, stream=stream, **asked)

    prices = litellm.model_cost[served]
    expected = 600 * prices["input_cost_per_token"] + 400 * prices["cache_read_input_token_cost"]
    expected += 500 * prices["output_cost_per_token"]
    assert only(asking).attributes[signals.COST_USD] == pytest.approx(expected)


TOKEN_PRICES = ("input_cost_per_token", "output_cost_per_token")
OWN_PRICE = {"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}


@pytest.mark.parametrize(
    ("model", "given", "discount"),
    [
        ("of-their-own", OWN_PRICE, {}),
        ("prod", {"base_model": "gpt-4o-mini"}, {}),
        ("gpt-5", {"service_tier": "flex"}, {}),
        ("gpt-4o", {}, {"openai": 0.5}),
    ],
    ids=["own prices", "a base model", "a tier", "a discount"],
)
@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_a_stream_costs_the_same_as_a_plain_answer(
    provider: ScriptedProvider,
    asking: Capture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    model: str,
    given: dict[str, Any],
    discount: dict[str, float],
) -> None:
    """litellm itself prices the plain one, and says nothing of a stream until its callbacks are called."""
    monkeypatch.setattr(litellm, "cost_discount_config", discount)
    monkeypatch.setattr(litellm, "model_cost", dict(litellm.model_cost))  # own prices would stay
    asked = {"model": f"openai/{model}", "messages": QUESTION, **given, **at(provider, {model: COUNTED})}
    for stream in (False, True):
        await drained(getattr(litellm, name), **asked, stream=stream)

    plain, streamed = (generation.attributes[signals.COST_USD] for generation in asking.generations)
    assert streamed == pytest.approx(plain)
    assert plain not in (0, pytest.approx(COST))


@pytest.mark.parametrize(
    ("model", "given"),
    [
        ("openai/of-their-own", dict.fromkeys(TOKEN_PRICES, 0.0)),
        ("openai/gpt-4o", {**dict.fromkeys(TOKEN_PRICES, 0), "cache_read_input_token_cost": 0}),
        ("openai/input-only", {"input_cost_per_token": 0.0}),
        ("openai/by-the-second", {"input_cost_per_second": 0.0}),
        ("openai/free", {}),
        ("deepseek/free", {}),
    ],
    ids=[
        "own prices",
        "own prices of a known model",
        "one own price",
        "by the second",
        "in the table",
        "with its provider",
    ],
)
@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_a_free_model_costs_zero(
    provider: ScriptedProvider, asking: Capture, monkeypatch: pytest.MonkeyPatch, name: str, model: str, given: Any
) -> None:
    """A price of 0 is a price: litellm says 0.0 then, of plain answers and to its callbacks."""
    free = {**dict.fromkeys(TOKEN_PRICES, 0.0), "mode": "chat"}
    entries = {
        "free": {**free, "litellm_provider": "openai"},
        "deepseek/free": {**free, "litellm_provider": "deepseek"},
    }
    monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, **entries})
    asked = {"model": model, "messages": QUESTION, **given, **at(provider, {model.partition("/")[2]: COUNTED})}
    for stream in (False, True):
        await drained(getattr(litellm, name), **asked, stream=stream)

    assert [generation.attributes.get(signals.COST_USD) for generation in asking.generations] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_a_model_whose_tokens_have_no_price_in_the_table_has_no_cost(
    provider: ScriptedProvider, asking: Capture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """litellm takes a missing price for 0; nobody said that the model is free."""
    entry = {"litellm_provider": "openai", "mode": "chat", "max_tokens": 100}
    monkeypatch.setattr(litellm, "model_cost", {**litellm.model_cost, "openai/no-price": entry})
    asked = {"model": "openai/no-price", "messages": QUESTION, **at(provider, {"no-price": COUNTED})}
    for stream in (False, True):
        await drained(getattr(litellm, name), **asked, stream=stream)

    assert [generation.attributes.get(signals.COST_USD) for generation in asking.generations] == [None, None]


@pytest.mark.parametrize("wrong", [-1, 2**64 - 1])
async def test_a_count_that_cannot_be_is_no_count(provider: ScriptedProvider, asking: Capture, wrong: int) -> None:
    """A broken gateway's stands on no span; a sum that had it once would keep all metrics from being sent."""
    script = Script(pieces=["a"], gap=0.002, usage=Usage(input=wrong, output=5))
    await chunks_of(provider, "completion", script)

    assert usage(only(asking)).get("input") is None
    assert usage(only(asking))["output"] == 5


async def test_a_model_without_a_price_has_no_cost(provider: ScriptedProvider, asking: Capture) -> None:
    """Nothing is invented, and no server asked for a price."""
    await drained(
        litellm.acompletion,
        model="ollama_chat/not-in-the-table",
        messages=QUESTION,
        mock_response="a b c",
        **at(provider, {}),
    )

    assert signals.COST_USD not in only(asking).attributes
    assert provider.log.exchanges() == []


@pytest.mark.parametrize("name", ["completion", "acompletion"])
async def test_usage_estimated_by_litellm_is_marked_and_no_metric(
    provider: ScriptedProvider, tokenstream: Capture, name: str
) -> None:
    """The program asked for usage and the provider gave none: litellm counts words, and the span says so."""
    script = Script(pieces=["a", "bc"], gap=0.002, usage=None)
    await chunks_of(provider, name, script, stream_options={"include_usage": True})

    assert usage(only(tokenstream))["source"] == "estimated"
    assert signals.COST_USD not in only(tokenstream).attributes
    assert signals.TOKENS not in tokenstream.metrics
    assert signals.TOKEN_USAGE not in tokenstream.metrics
