"""Calls of the installed DSPy, on each of its engines."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import dspy  # type: ignore[import-untyped, import-not-found, unused-ignore]  # where it is installed

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ASKED = {"question": "Why is the sky blue?"}
_SIGNATURE = "question -> answer"


def probes(base_url: str) -> Iterator[Probe]:
    """Yield programs, plain, async and streamed, then a tool and a retriever; ``base_url`` is with /v1."""
    for engine in _engines():
        about = {"engine": "litellm"} if engine == "litellm" and len(_engines()) > 1 else {}
        lm = dspy.LM("openai/test", api_base=base_url, api_key="none", cache=False, num_retries=0, **about)
        yield Probe(f"Predict on {engine}", _with(lm, _plain), _seam(engine, "LM15Engine.complete"))
        yield Probe(f"Predict.acall on {engine}", _with(lm, _awaited), _seam(engine, "AsyncLM15Engine.complete"))
        streamed = _seam(engine, "AsyncLM15Engine.stream")
        yield Probe(f"streamify on {engine}", _with(lm, _streamed), streamed, is_exact=False)
    yield Probe("Tool", lambda: dspy.Tool(_look_up)(city="Oslo"), "dspy.Tool", first="execute_tool", is_call=False)
    yield Probe("Retrieve", lambda: _Retriever(k=1)("Why?"), "dspy.Retrieve", first="retrieval", is_call=False)


def _engines() -> tuple[str, ...]:
    """DSPy's own engine is there since 3.4."""
    has_litellm = find_spec("litellm") is not None
    if find_spec("dspy.clients.engines") is None:
        return ("litellm",)
    return ("lm15", "litellm") if has_litellm else ("lm15",)


def _seam(engine: str, place: str) -> str:
    if engine == "lm15":
        return f"dspy.LM by {place}"
    return "litellm.acompletion" if place.startswith("Async") else "litellm.completion"


def _with(lm: Any, run: Callable[[], Any]) -> Callable[[], Any]:
    def call() -> Any:
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            return run()

    return call


def _plain() -> Any:
    return dspy.Predict(_SIGNATURE)(**_ASKED)


def _awaited() -> Any:
    lm, adapter = dspy.settings.lm, dspy.settings.adapter

    async def run() -> Any:
        with dspy.context(lm=lm, adapter=adapter):
            return await dspy.Predict(_SIGNATURE).acall(**_ASKED)

    return run()


def _streamed() -> Any:
    """Return the chunks without what comes last, the prediction."""
    return iter(list(dspy.streamify(dspy.Predict(_SIGNATURE), async_streaming=False)(**_ASKED))[:-1])


def _look_up(city: str) -> str:
    return f"It rains in {city}."


class _Retriever(dspy.Retrieve):  # type: ignore[misc]  # of a library that may be absent
    def forward(self, query: str, k: int | None = None) -> Any:
        return dspy.Prediction(passages=[query] * (k or self.k))
