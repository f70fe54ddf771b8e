"""Programs of every kind a user writes, and what can be told of one run of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import dspy

from otel_tokenstream import stream_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

WITH_TEXT = {"capture_content": "EVENT_ONLY", "event_budget": 1024, "content_limit": 1 << 20}
ENGINES = ("lm15", "litellm")
ADAPTERS = {"chat": dspy.ChatAdapter, "json": dspy.JSONAdapter, "xml": dspy.XMLAdapter}
QUESTION = "Why is the sky blue?"
CORPUS = ["Air scatters blue light more than red.", "The sea mirrors the sky.", "Dust makes sunsets red."]

# Differ from one call to the next, however it is made.
_OF_THE_MOMENT = ("timestamp", "uuid", "response")


class Review(dspy.Signature):
    """Judge a text."""

    text: str = dspy.InputField()
    tone: Literal["warm", "cold"] = dspy.OutputField()
    reasons: list[str] = dspy.OutputField()
    score: float = dspy.OutputField()
    summary: str = dspy.OutputField()


@stream_fields(["answer"])
class Decorated(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.respond = dspy.ChainOfThought("question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.respond(question=question)


@stream_fields(["summary"])
class Judge(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.review = dspy.Predict(Review)

    def forward(self, text: str) -> dspy.Prediction:
        return self.review(text=text)


class Keyword(dspy.Retrieve):
    """A retriever of the user's own."""

    def forward(self, query: str, k: int | None = None) -> dspy.Prediction:
        words = query.lower().strip("?").split()
        ranked = sorted(CORPUS, key=lambda passage: -sum(word in passage.lower() for word in words))
        return dspy.Prediction(passages=ranked[: k or self.k])


class Rag(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.search = dspy.Predict("question -> query")
        self.retrieve = Keyword(k=2)
        self.respond = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        query = self.search(question=question).query
        return self.respond(context=self.retrieve(query).passages, question=question)

    async def aforward(self, question: str) -> dspy.Prediction:
        query = (await self.search.acall(question=question)).query
        return await self.respond.acall(context=self.retrieve(query).passages, question=question)


def look_up(city: str) -> str:
    """Weather of a city."""
    return f"It rains in {city}."


@dataclass(frozen=True)
class Case:
    make: Callable[[], Any]
    inputs: dict[str, Any]
    fields: list[str]


CASES = {
    "predict": Case(lambda: dspy.Predict("question -> answer"), {"question": QUESTION}, ["answer"]),
    "chain of thought": Case(lambda: dspy.ChainOfThought("question -> answer"), {"question": QUESTION}, ["answer"]),
    "own signature": Case(lambda: dspy.Predict(Review), {"text": "A fine day."}, ["reasons", "summary"]),
    "agent": Case(
        lambda: dspy.ReAct("question -> answer", tools=[look_up], max_iters=2),
        {"question": "Is it raining in Bergen?"},
        ["next_thought", "answer"],
    ),
    "retrieval": Case(Rag, {"question": QUESTION}, ["reasoning", "answer"]),
}


def language_model(provider: ScriptedProvider, engine: str, model: str = "gpt-4o", **more: Any) -> Any:
    about = {"api_base": provider.base_url, "api_key": "none", "cache": False, "num_retries": 0, **more}
    return dspy.LM(f"openai/{model}", engine=engine, **about)


@dataclass(frozen=True)
class Run:
    """What a program got, kept and sent."""

    prediction: dict[str, Any]
    usage: Any
    history: list[dict[str, Any]]
    responses: list[Any]
    requests: list[Any]


def told(provider: ScriptedProvider, lm: Any, prediction: Any) -> Run:
    entries = list(lm.history)
    requests = []
    for exchange in provider.log.exchanges():
        body = json.loads(exchange.body)
        requests.append({key: value for key, value in body.items() if key not in ("stream", "stream_options")})
    return Run(
        prediction.toDict(),
        prediction.get_lm_usage(),
        [_entry(entry) for entry in entries],
        [_response(entry["response"]) for entry in entries],
        requests,
    )


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in entry.items() if key not in _OF_THE_MOMENT}
    form = kept["kwargs"].get("response_format")
    if isinstance(form, type):  # made anew for each call
        kept["kwargs"] = {**kept["kwargs"], "response_format": form.model_json_schema()}
    return kept


def _response(response: Any) -> Any:
    """A response without what only the last frame of a stream, or only a whole body, has."""
    from dataclasses import is_dataclass, replace

    if is_dataclass(response):
        return replace(response, id="known" if response.id else None, provider_data=None)
    plain = response.model_dump(exclude_none=True, exclude={"created"})
    plain["id"] = "known" if plain["id"] else None
    for choice in plain["choices"]:
        choice.pop("provider_specific_fields", None)
        choice["message"].pop("provider_specific_fields", None)
    for details in ("prompt_tokens_details", "completion_tokens_details"):
        plain["usage"].pop(details, None)  # litellm's own classes, of which the history has plain values
    return plain


async def ask(program: Any, inputs: dict[str, Any], *, asynchronous: bool) -> Any:
    return await program.acall(**inputs) if asynchronous else program(**inputs)


def streamed(provider: ScriptedProvider) -> list[bool]:
    return [json.loads(exchange.body).get("stream", False) for exchange in provider.log.exchanges()]


def fields(captured: Capture) -> list[set[str]]:
    return [set(call.fields) for call in captured.generations]
