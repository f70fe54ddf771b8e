"""What a call cost in US dollars: as litellm tells its own callbacks, or by its table of prices."""

from __future__ import annotations

import sys
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.generation import Generation, Usage

    Price = Callable[[Generation], float | None]

_COST_HEADER = "llm_provider-x-litellm-response-cost"


def price_of(stream: Any) -> Price:
    """Return what prices a call once it has ended; it does not hold the stream."""
    logged, chunks = getattr(stream, "logging_obj", None), getattr(stream, "chunks", None)
    if logged is None or not chunks:
        return _by_table
    # Of a stream that still runs litellm says there that it costs 0.
    known = getattr(stream, "_hidden_params", None) or {}
    hidden = {name: copy(value) for name, value in known.items() if name != "response_cost"}
    told = getattr(stream, "_propagate_usage_cost_to_hidden_params", None)
    if told is not None:
        told = partial(told, custom_llm_provider=stream.custom_llm_provider)
    return partial(_by_litellm, logged, list(chunks), hidden, told)


def _by_litellm(
    logged: Any, chunks: list[Any], hidden: dict[str, Any], told: Callable[..., object] | None, call: Generation
) -> float | None:
    return _as_logged(logged, chunks, hidden, told, call) or _by_table(call)


@guarded
def _as_logged(
    logged: Any, chunks: list[Any], hidden: dict[str, Any], told: Callable[..., object] | None, call: Generation
) -> float | None:
    """Have the whole answer priced as litellm does when it has put it together, with all that is special about it."""
    litellm, counts = sys.modules["litellm"], _together(chunks, call.usage)
    special = "cost" in counts or _COST_HEADER in (hidden.get("additional_headers") or ())
    if not special and _model(call, hidden.get("model_id"), _base_model(logged)) is None:
        return None
    answer = litellm.ModelResponse(model=call.response_model or chunks[-1].model)
    answer.usage = litellm.Usage(**counts)
    answer._hidden_params = hidden  # noqa: SLF001  # where litellm looks
    if told is not None:
        told(answer)
    tier = next((tier for chunk in reversed(chunks) if (tier := getattr(chunk, "service_tier", None))), None)
    if tier is not None:
        answer.service_tier = tier
    # A copy, because it notes what it computes, for the program's callbacks, and warns of what costs nothing.
    asked = copy(logged)
    asked.model_call_details = dict(logged.model_call_details)
    asked.zero_cost_warned = True
    cost = asked._response_cost_calculator(result=answer)  # noqa: SLF001  # its name in every version
    return float(cost) if cost else None


def _by_table(call: Generation) -> float | None:
    """Price the counts by litellm's table; None for a model that is not in it."""
    usage, model = call.usage, _model(call)
    if usage is None or model is None:
        return None
    litellm = sys.modules["litellm"]
    try:
        costs = litellm.cost_per_token(
            model=model,
            custom_llm_provider=call.attempts[-1].provider or None,
            prompt_tokens=usage.input or 0,
            completion_tokens=usage.output or 0,
            cache_creation_input_tokens=usage.cache_write or 0,
            cache_read_input_tokens=usage.cache_read or 0,
            usage_object=litellm.Usage(
                **_totals(usage),
                prompt_tokens_details={"cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input},
                completion_tokens_details={"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output},
                cache_creation_input_tokens=usage.cache_write,
                cache_read_input_tokens=usage.cache_read,
            ),
        )
    except Exception:  # noqa: BLE001  # no price: litellm says so by many classes
        return None
    return float(sum(costs)) or None


def _model(call: Generation, *others: str | None) -> str | None:
    """Return the first name of the model, or of what is priced in its stead, that is in litellm's table.

    Asking litellm for the price of a model it does not know can make it ask a server.
    """
    table, attempt = sys.modules["litellm"].model_cost, call.attempts[-1]
    for name in (call.response_model, attempt.model, *others):
        if name and (name in table or f"{attempt.provider}/{name}" in table):
            return name
    return None


def _base_model(logged: Any) -> str | None:
    """Return which model a deployment says it is, by an argument or in a router's list."""
    given = getattr(logged, "litellm_params", None) or {}
    about = (given.get("metadata") or {}).get("model_info") or given.get("model_info") or {}
    name: str | None = given.get("base_model") or about.get("base_model")
    return name


def _together(chunks: list[Any], usage: Usage | None) -> dict[str, Any]:
    """Return a usage object's fields, as several chunks have them; some providers tell the prompt's at the start."""
    fields: dict[str, Any] = {}
    for chunk in chunks:
        said = getattr(chunk, "usage", None)
        for name, value in (said if isinstance(said, dict) else said.model_dump() if said is not None else {}).items():
            before = fields.get(name)
            if isinstance(value, dict) and isinstance(before, dict):
                fields[name] = {**before, **{key: each for key, each in value.items() if each or key not in before}}
            elif value or name not in fields:
                fields[name] = value
    return {**{name: value for name, value in fields.items() if value is not None}, **_totals(usage)}


def _totals(usage: Usage | None) -> dict[str, int]:
    prompt, answer = (usage.input or 0, usage.output or 0) if usage is not None else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
