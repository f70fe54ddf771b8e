"""``with_retry`` and ``with_fallbacks`` around chains: which are one call, and which a call for each model."""

from __future__ import annotations

import asyncio
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import BaseOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from pydantic import BaseModel

from otel_tokenstream import signals
from otel_tokenstream.core.runtime.guard import faults
from otel_tokenstream.demo.provider import Script
from tests.patches.test_langchain import ANSWER, BROKEN, chat

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

    Made = Callable[[str], Any]

ASKED = {"question": "Why?"}
_FIXED = ChatPromptTemplate.from_template("Why?")


def _invoke(group: Any, given: Any) -> None:
    group.invoke(given)


def _ainvoke(group: Any, given: Any) -> None:
    asyncio.run(group.ainvoke(given))


def _stream(group: Any, given: Any) -> None:
    list(group.stream(given))


def _astream(group: Any, given: Any) -> None:
    async def read() -> None:
        _ = [chunk async for chunk in group.astream(given)]

    asyncio.run(read())


WAYS = (_invoke, _ainvoke, _stream, _astream)


@pytest.fixture
def made(provider: ScriptedProvider) -> Made:
    return lambda name: chat(provider, name=name)


def _asked(captured: Capture) -> list[tuple[str, str, int, bool]]:
    """(span, model that answered, tokens, whether there are attempts) of each call in its order."""
    return [
        (
            each.span.name,
            each.attributes[signals.RESPONSE_MODEL],
            each.attributes[signals.USAGE_OUTPUT_TOKENS],
            signals.ATTEMPTS in each.attributes,
        )
        for each in sorted(captured.generations, key=lambda each: each.span.start_time)
    ]


# --- Several models -------------------------------------------------------------------------


def _rewriting(made: Made) -> Any:
    rewritten = ChatPromptTemplate.from_template("Rewrite {question}") | made("one") | StrOutputParser()
    return RunnablePassthrough.assign(q=rewritten) | ChatPromptTemplate.from_template("{q}") | made("two")


def _function(made: Made) -> Any:
    one = made("one")
    return RunnableLambda(lambda _: one.invoke("Why?").content) | made("two")


def _bound_method(made: Made) -> Any:
    return _FIXED | RunnableLambda(made("one").invoke) | StrOutputParser() | made("two")


class _Fixing(BaseOutputParser[str]):
    llm: Any

    def parse(self, text: str) -> str:
        return str(self.llm.invoke(f"Fix {text}").content)


def _parser(made: Made) -> Any:
    return _FIXED | made("one") | _Fixing(llm=made("two"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrap", ["with_retry", "with_fallbacks"])
@pytest.mark.parametrize("chain", [_rewriting, _function, _bound_method, _parser])
def test_each_model_of_a_group_is_a_generation(
    made: Made, tokenstream: Capture, chain: Callable[[Made], Any], wrap: str, way: Callable[[Any, Any], None]
) -> None:
    way(chain(made).with_retry() if wrap == "with_retry" else chain(made).with_fallbacks([made("three")]), ASKED)

    assert _asked(tokenstream) == [("chat one", "one", 3, False), ("chat two", "two", 3, False)]


def test_the_branches_before_the_model_of_a_group_are_generations(made: Made, tokenstream: Capture) -> None:
    parallel = RunnableParallel(a=made("one"), b=made("two")) | RunnableLambda(lambda each: each["a"].content)

    (parallel | made("three")).with_retry().invoke("Why?")

    assert sorted(_asked(tokenstream)) == [
        ("chat one", "one", 3, False),
        ("chat three", "three", 3, False),
        ("chat two", "two", 3, False),
    ]


def test_each_input_of_a_retried_map_is_a_generation(made: Made, tokenstream: Capture) -> None:
    made("one").map().with_retry().invoke(["One?", "Two?", "Three?"])

    assert _asked(tokenstream) == [("chat one", "one", 3, False)] * 3


def _branch(made: Made) -> Any:
    return RunnableBranch((lambda _: True, made("one")), made("two"))


def _alternative(made: Made) -> Any:
    field = ConfigurableField(id="llm")
    either = made("two").configurable_alternatives(field, default_key="two", one=made("one"))
    return either.with_config(configurable={"llm": "one"})


def _other_name(made: Made) -> Any:
    named = made("two").configurable_fields(model_name=ConfigurableField(id="name"))
    return named.with_config(configurable={"name": "one"})


@pytest.mark.parametrize("choosing", [_branch, _alternative, _other_name])
def test_a_retried_choice_has_the_name_of_the_model_that_was_asked(
    made: Made, tokenstream: Capture, choosing: Callable[[Made], Any]
) -> None:
    group = choosing(made).with_retry()
    made("one")  # the provider knows the name

    group.invoke("Why?")

    assert _asked(tokenstream) == [("chat one", "one", 3, False)]


@pytest.mark.parametrize("wrap", ["with_retry", "with_fallbacks"])
def test_a_model_that_a_handler_asks_during_a_group_is_a_generation(
    made: Made, tokenstream: Capture, wrap: str
) -> None:
    judge = made("judge")

    class Judging(BaseCallbackHandler):
        def on_llm_end(self, *_: Any, **__: Any) -> None:
            judge.invoke("Good?", config={"callbacks": []})

    group = made("one").with_retry() if wrap == "with_retry" else made("one").with_fallbacks([made("two")])
    group.invoke("Why?", config={"callbacks": [Judging()]})

    assert _asked(tokenstream) == [("chat one", "one", 3, False), ("chat judge", "judge", 3, False)]


# --- One model ------------------------------------------------------------------------------


class _Letters(BaseModel):
    letters: str


def _prompted(model: Any) -> Any:
    return {"it": itemgetter("question")} | ChatPromptTemplate.from_template("{it}") | model | StrOutputParser()


def _picking(model: Any) -> Any:
    return RunnablePassthrough.assign(it=itemgetter("question")) | _FIXED | model.bind(stop=["end"])


def _structured(model: Any) -> Any:
    return _FIXED | model.with_structured_output(_Letters)


@pytest.mark.parametrize("way", WAYS[:2])
@pytest.mark.parametrize("chain", [_prompted, _picking, _structured])
def test_the_attempts_of_a_chain_whose_other_steps_ask_nothing_are_one_generation(
    provider: ScriptedProvider, tokenstream: Capture, chain: Callable[[Any], Any], way: Callable[[Any, Any], None]
) -> None:
    model = chat(provider)
    provider.scripts["test"] = [BROKEN, Script(pieces=['{"letters": ', '"abc"}'], gap=0.001)]
    before = faults.total()

    way(chain(model).with_retry(wait_exponential_jitter=False), ASKED)

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert generation.attributes[signals.ATTEMPTS] == 2
    assert faults.total() == before


def test_groups_within_a_group_are_one_generation(provider: ScriptedProvider, tokenstream: Capture) -> None:
    inner = chat(provider, BROKEN, "broken").with_fallbacks([chat(provider, BROKEN, "worse")])

    (_FIXED | inner | StrOutputParser()).with_fallbacks([_FIXED | chat(provider, ANSWER)]).invoke(ASKED)

    (generation,) = tokenstream.generations
    assert generation.attributes[signals.ATTEMPTS] == 3


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_kept_answer_of_a_group_is_marked(
    provider: ScriptedProvider, tokenstream: Capture, way: Callable[[Any, Any], None]
) -> None:
    group = chat(provider, cache=InMemoryCache()).with_retry()

    way(group, "Why?")
    way(group, "Why?")

    asked, kept = tokenstream.generations
    assert signals.CACHE_HIT not in asked.attributes
    assert kept.attributes[signals.CACHE_HIT]
    assert signals.USAGE_OUTPUT_TOKENS not in kept.attributes
