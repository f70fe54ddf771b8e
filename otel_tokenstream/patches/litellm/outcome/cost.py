"""The cost of a call in US dollars, as litellm reports it to its callbacks, or by its table of prices."""

from __future__ import annotations

import sys
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.runtime.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.call.request import Usage

    Price = Callable[[ModelCall], float | None]

_COST_HEADER = "llm_provider-x-litellm-response-cost"


def price_of(stream: Any) -> Price:
    """Return what prices a call once it has ended; it does not hold the stream."""
    logged, chunks = _logging_of(stream), getattr(stream, "chunks", None) or ()
    known = getattr(stream, "_hidden_params", None) or {}
    is_plain = not (hasattr(type(stream), "__next__") or hasattr(type(stream), "__anext__"))
    told = known.get("response_cost")
    if is_plain and isinstance(told, (int, float)):
        return partial(_of_a_priced_answer, float(told))
    if logged is None or not (chunks or _has_own_prices(logged)):
        return _by_table
    # Of a stream that still runs litellm says there that it costs 0.
    hidden = {name: copy(value) for name, value in known.items() if name != "response_cost"}
    tell = getattr(stream, "_propagate_usage_cost_to_hidden_params", None)
    if tell is not None:
        tell = partial(tell, custom_llm_provider=stream.custom_llm_provider)
    return partial(_by_litellm, logged, list(chunks), hidden, tell)


def _by_litellm(
    logged: Any, chunks: list[Any], hidden: dict[str, Any], tell: Callable[..., object] | None, call: ModelCall
) -> float | None:
    cost, own = _as_logged(logged, chunks, hidden, tell, call), _has_own_prices(logged)
    if own:
        return cost
    return cost or _by_table(call)


def _of_a_priced_answer(told: float, call: ModelCall) -> float | None:
    """Return what litellm says; where that is 0, and it knows the model and not what its tokens cost, None."""
    if told > 0:
        return told
    entry = _entry(call)
    return 0.0 if entry is None or _prices(entry) is not None else None


@guarded
def _logging_of(stream: Any) -> Any:
    """Return litellm's record of the request, by the names its streams have for it."""
    return getattr(stream, "logging_obj", None) or getattr(stream, "litellm_logging_obj", None)


@guarded
def _has_own_prices(logged: Any) -> bool:
    """Return whether the request or its deployment has prices that are not those of the table.

    Versions of litellm differ in whether they enter them into the table, for one call or for good.
    """
    about = sys.modules["litellm.litellm_core_utils.litellm_logging"]
    return bool(about.use_custom_pricing_for_model(getattr(logged, "litellm_params", None)))


@guarded
def _as_logged(
    logged: Any, chunks: list[Any], hidden: dict[str, Any], tell: Callable[..., object] | None, call: ModelCall
) -> float | None:
    """Have the whole answer priced as litellm does when it has put it together, with all that is special about it."""
    litellm, counts = sys.modules["litellm"], _together(chunks, call.usage)
    special = "cost" in counts or _COST_HEADER in (hidden.get("additional_headers") or ()) or _has_own_prices(logged)
    if not special and _model(call, hidden.get("model_id"), _base_model(logged)) is None:
        return None
    answer = litellm.ModelResponse(model=call.response_model or (chunks[-1].model if chunks else call.request.model))
    answer.usage = litellm.Usage(**counts)
    answer._hidden_params = hidden  # noqa: SLF001  # where litellm looks
    if tell is not None:
        tell(answer)
    tier = next((tier for chunk in reversed(chunks) if (tier := getattr(chunk, "service_tier", None))), None)
    if tier is not None:
        answer.service_tier = tier
    # A copy, because it notes what it computes, for the program's callbacks, and warns of what costs nothing.
    record = copy(logged)
    record.model_call_details = dict(logged.model_call_details)
    record.zero_cost_warned = True
    cost = record._response_cost_calculator(result=answer)  # noqa: SLF001  # its name in every version
    return None if cost is None else float(cost)


def _by_table(call: ModelCall) -> float | None:
    """Price the counts by litellm's table; None for a model that is not in it."""
    usage, model, entry = call.usage, _model(call), _entry(call)
    if usage is None or model is None or entry is None:
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
            usage_object=litellm.Usage(**_totals(usage), **_details(usage)),
        )
    except Exception:  # noqa: BLE001  # no price: litellm says so by many classes
        return None
    return float(sum(costs)) or (0.0 if _prices(entry) == (0, 0) else None)


def _entry(call: ModelCall) -> dict[str, Any] | None:
    """Return what litellm's table has on the model."""
    table, model = sys.modules["litellm"].model_cost, _model(call)
    return table.get(model) or table.get(f"{call.attempts[-1].provider}/{model}")  # type: ignore[no-any-return]


def _prices(entry: dict[str, Any]) -> tuple[Any, Any] | None:
    """Return what a token of input and of output costs; None where the table does not say."""
    names = ("input_cost_per_token", "output_cost_per_token")
    return None if any(entry.get(name) is None for name in names) else (entry[names[0]], entry[names[1]])


def _model(call: ModelCall, *others: str | None) -> str | None:
    """Return the first name of the model, or of what is priced in its stead, that is in litellm's table.

    Asking litellm for the price of a model it does not know can make it ask a server.
    """
    table, attempt = sys.modules["litellm"].model_cost, call.attempts[-1]
    for name in (call.response_model, attempt.routed, attempt.model, *others):
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
    if not chunks:
        fields = _details(usage)
    return {**{name: value for name, value in fields.items() if value is not None}, **_totals(usage)}


def _details(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    return {
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "audio_tokens": (usage.input_by or {}).get("audio"),
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": (usage.output_by or {}).get("audio"),
        },
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
    }


def _totals(usage: Usage | None) -> dict[str, int]:
    prompt, answer = (usage.input or 0, usage.output or 0) if usage is not None else (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
