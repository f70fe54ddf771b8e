"""DSPy's own engine since 3.4, its vendored lm15: one attempt of a model call, streamed or not.

A plain call that is to be streamed becomes one here, below DSPy's cache and retries, and is put
together again by lm15's own means.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core.call.chunk_kinds import EMPTY, REASONING
from otel_tokenstream.core.call.nesting import CallScope, current_call
from otel_tokenstream.core.call.request import Request, Usage
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.fields.expected import telling_only
from otel_tokenstream.patches.content_kinds import kind_of
from otel_tokenstream.patches.dspy import opening_usage
from otel_tokenstream.patches.dspy.optimizers import fields_to_stream
from otel_tokenstream.patches.lifecycle import begin, hand_over
from otel_tokenstream.patches.openai_shape import count, parameters, provider_name, server, with_reasoning
from otel_tokenstream.patches.seams import PublicEntry
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.call.model_call import ModelCall
    from otel_tokenstream.core.emit.telemetry import Telemetry

_MODULE = "dspy.clients.engines.lm15_engine"

# lm15's names of doors to one provider by different protocols, and the convention's names.
_PROVIDERS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "azure-chat": "azure",
    "xai-chat": "xai",
    "moonshotai": "moonshot_ai",
}
# Deltas that are about content, and text of no length.
_NO_CONTENT = ("text", "citation", "continuation")
_REASONING_APART = ("gcp.gemini", "gcp.vertex_ai", "x_ai")


def patches(telemetry: Telemetry) -> list[Patch]:
    def patch(attribute: str, wrap: Callable[[Telemetry, Any], Any]) -> Patch:
        entry = PublicEntry(f"dspy.LM by {attribute}", (3, 4))
        return Patch(_MODULE, attribute, partial(wrap, telemetry), optional=True, entries=(entry,))

    return [
        patch("LM15Engine.stream", _stream),
        patch("AsyncLM15Engine.stream", _stream),
        patch("LM15Engine.complete", _complete),
        patch("AsyncLM15Engine.complete", _acomplete),
        *opening_usage.patches(),
    ]


def _stream(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    # Sync or async, calling the original only makes a generator: its first read sends the request.
    @wraps(original)
    def stream(self: Any, request: Any) -> Any:
        events = original.__get__(self)(request)
        with begin(telemetry, partial(_request, self, request, streamed=True), fields=True) as call:
            return events if call is None else hand_over(call, events, _Reader, None)

    return stream


def _complete(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def complete(self: Any, request: Any) -> Any:
        told = _told(telemetry, self, request)
        if told is not None:
            with telling_only(told):
                events = self.stream(request)
            with opening_usage.capture_opening_usage() as opening:
                response = _lm15("result").materialize_response(events, request)
            return _as_plain(response, opening) or response
        with begin(telemetry, partial(_request, self, request, streamed=False)) as call:
            if call is None:
                return original.__get__(self)(request)
            with CallScope(call):
                response = original.__get__(self)(request)
            return hand_over(call, response, None, _read_response)

    return complete


def _acomplete(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def complete(self: Any, request: Any) -> Any:
        told = _told(telemetry, self, request)
        if told is not None:
            with telling_only(told):
                events = self.stream(request)
            with opening_usage.capture_opening_usage() as opening:
                response = await _lm15("result").amaterialize_response(events, request)
            return _as_plain(response, opening) or response
        with begin(telemetry, partial(_request, self, request, streamed=False)) as call:
            if call is None:
                return await original.__get__(self)(request)
            with CallScope(call):
                response = await original.__get__(self)(request)
            return hand_over(call, response, None, _read_response)

    return complete


def _request(engine: Any, request: Any, *, streamed: bool) -> Request:
    provider, model, base = _route(engine, request.model)
    host, port = server(base)
    return Request(
        operation="chat",
        provider=provider_name(_PROVIDERS.get(provider, provider)),
        model=model,
        stream=streamed,
        server_address=host,
        server_port=port,
        parameters=_parameters(request.config),
        messages=request.messages,
        system=request.system,
        tools=request.tools,
    )


def _told(telemetry: Telemetry, engine: Any, request: Any) -> frozenset[str] | None:
    """Return the fields whose tokens a plain call is to tell of, where it can be made as a stream."""
    told = None if current_call() is not None else fields_to_stream(telemetry)
    return told if told is not None and _can_stream(engine, request) else None


@guarded
def _can_stream(engine: Any, request: Any) -> bool:
    if request.config.logprobs is not None:
        return False
    resolution = engine.resolve(request.model)
    scored = getattr(resolution.compat, "token_scoring", "none") not in (None, "none")
    if scored and _lm15("judgments").request_judgments(request):  # answered by scoring, not by writing
        return False
    definition = _lm15("registry").lookup(resolution.provider)
    supports = getattr(getattr(definition, "access", None), "supports", None)
    return getattr(supports, "stream", True) is not False


@guarded
def _as_plain(response: Any, opening: dict[str, Any]) -> Any:
    """Return the response with what lm15's events leave out of a stream's.

    That is the id, which every chunk of OpenAI's chat protocol has, and what Anthropic counts at the opening.
    """
    known = isinstance(response.provider_data, dict) and response.provider_data.get("id")
    if response.id is None and isinstance(known, str) and known:
        response = replace(response, id=known)
    return opening_usage.completed(response, opening)


def _lm15(module: str) -> Any:
    return sys.modules[f"dspy._vendor.lm15.{module}"]


def _route(engine: Any, model: str) -> tuple[str, str, str | None]:
    """(provider, model on the wire, base URL where it is known); an unknown model is the engine's to refuse."""
    try:
        resolution = engine.resolve(model)
    except Exception:  # noqa: BLE001  # a moment later the engine raises it to the program
        return "_OTHER", model, None
    registry = _lm15("registry")
    canonical = registry.canonical_provider
    for name, url in (engine.config.base_urls or {}).items():
        if canonical(name) == canonical(resolution.provider):
            return resolution.provider, resolution.model, url
    definition = registry.lookup(resolution.provider)
    return resolution.provider, resolution.model, getattr(getattr(definition, "access", None), "base_url", None)


def _parameters(config: Any) -> dict[str, Any]:
    names = ("max_tokens", "temperature", "top_p", "top_k", "stop", "seed", "frequency_penalty", "presence_penalty")
    options = {name: getattr(config, name, None) for name in (*names, "response_format")}
    options["reasoning_effort"] = getattr(getattr(config, "reasoning", None), "effort", None)
    return parameters(options)


def _read_response(call: ModelCall, response: Any) -> None:
    call.response_id, call.response_model = response.id, response.model
    call.finish_reasons[0] = str(response.finish_reason)
    call.usage = _usage(call, response.usage)
    call.answered(response.message)


class _Reader:
    """Reads lm15's events. A start event is a chunk as well, if one without content."""

    def __init__(self, call: ModelCall) -> None:
        self._call = call

    def __call__(self, read_started: int, arrived: int, event: Any) -> None:
        call = self._call
        if event.type == "delta":
            delta = event.delta
            kind = delta.type
            if kind == "text":
                if delta.text:
                    call.text(read_started, arrived, delta.text)
                    return
            elif kind == "thinking":
                call.generated(read_started, arrived, REASONING, delta.text)
                return
            elif kind == "tool_call":
                call.tool_calls(read_started, arrived, [(delta.part_index, delta.id, delta.name, delta.input)])
                return
            elif kind not in _NO_CONTENT:
                # Media come in pieces, of which only their kind is kept.
                call.block(read_started, arrived, kind_of(delta, kind), delta, at=delta.part_index)
                return
        elif event.type == "start":
            call.response_id, call.response_model = event.id, event.model
        elif event.type == "end":
            if event.finish_reason:
                call.finish_reasons[0] = str(event.finish_reason)
            usage = _usage(call, event.usage)
            call.usage = call.usage.followed_by(usage) if call.usage is not None else usage
        call.chunk(read_started, arrived, EMPTY, 0, None, None)


def _usage(call: ModelCall, reported: Any) -> Usage | None:
    """Bring lm15's counts, which are each provider's own, to the convention's meaning.

    The convention's input includes cached tokens, which Anthropic counts apart, and its output
    includes reasoning, which Gemini and xAI count apart, but not every gateway before them.
    """
    prompt, output = count(reported, "input_tokens"), count(reported, "output_tokens")
    if prompt is None and output is None:
        return None
    read, written = count(reported, "cache_read_tokens"), count(reported, "cache_write_tokens")
    reasoning = count(reported, "reasoning_tokens")
    if call.request.provider == "anthropic" and prompt is not None:
        prompt += (read or 0) + (written or 0)
    apart = call.request.provider in _REASONING_APART
    output = with_reasoning(prompt, output, reasoning, count(reported, "total_tokens"), apart=apart)
    return Usage(input=prompt, output=output, cache_read=read, cache_write=written, reasoning=reasoning)
