"""DSPy's own engine since 3.4, its vendored lm15: one attempt of a model call, streamed or not.

A plain call that is to be streamed becomes one here, below DSPy's cache and retries, and is put
together again by lm15's own means.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

from otel_tokenstream.core import streams
from otel_tokenstream.core.generation import COMPLETED, Generation, Request, Usage
from otel_tokenstream.core.guard import fault, guarded
from otel_tokenstream.core.ownership import Owning, owner
from otel_tokenstream.core.timeline import AUDIO, EMPTY, REASONING
from otel_tokenstream.fields.expected import expected_parser, telling_only
from otel_tokenstream.patches.dspy import opening_usage
from otel_tokenstream.patches.dspy.forcing import told_fields
from otel_tokenstream.patches.openai_shape import count, parameters, provider_name, server
from otel_tokenstream.patches.table import Patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.core.telemetry import Telemetry

_parser = guarded(expected_parser)  # the call goes on, and is recorded, without its fields

_MODULE = "dspy.clients.engines.lm15_engine"

# lm15's names of doors to one provider by different protocols, and the convention's names.
_PROVIDERS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "azure-chat": "azure",
    "xai-chat": "xai",
    "moonshotai": "moonshot_ai",
}


def patches(telemetry: Telemetry) -> list[Patch]:
    def patch(attribute: str, wrap: Callable[[Telemetry, Any], Any]) -> Patch:
        return Patch(_MODULE, attribute, lambda original: wrap(telemetry, original), optional=True)

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
        call = _start(telemetry, self, request, streamed=True)
        if call is None:
            return events
        return _handed_over(call, events, streamed=True)

    return stream


def _complete(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def complete(self: Any, request: Any) -> Any:
        told = _told(telemetry, self, request)
        if told is not None:
            with telling_only(told):
                events = self.stream(request)
            with opening_usage.noting() as opening:
                response = _lm15("result").materialize_response(events, request)
            return _as_plain(response, opening) or response
        call = _start(telemetry, self, request, streamed=False)
        if call is None:
            return original.__get__(self)(request)
        try:
            with Owning(call):
                response = original.__get__(self)(request)
        except BaseException as error:
            call.end(streams.outcome_of(error), error)
            raise
        return _handed_over(call, response, streamed=False)

    return complete


def _acomplete(telemetry: Telemetry, original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def complete(self: Any, request: Any) -> Any:
        told = _told(telemetry, self, request)
        if told is not None:
            with telling_only(told):
                events = self.stream(request)
            with opening_usage.noting() as opening:
                response = await _lm15("result").amaterialize_response(events, request)
            return _as_plain(response, opening) or response
        call = _start(telemetry, self, request, streamed=False)
        if call is None:
            return await original.__get__(self)(request)
        try:
            with Owning(call):
                response = await original.__get__(self)(request)
        except BaseException as error:
            call.end(streams.outcome_of(error), error)
            raise
        return _handed_over(call, response, streamed=False)

    return complete


@guarded
def _start(telemetry: Telemetry, engine: Any, request: Any, *, streamed: bool) -> Generation | None:
    if owner() is not None:
        return None
    provider, model, base = _route(engine, request.model)
    host, port = server(base)
    call = telemetry.start(
        Request(
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
    )
    if call is not None and streamed and telemetry.settings.fields:
        call.parser = _parser()
    return call


def _told(telemetry: Telemetry, engine: Any, request: Any) -> frozenset[str] | None:
    """Return the fields whose tokens a plain call is to tell of, where it can be made as a stream."""
    told = None if owner() is not None else told_fields(telemetry)
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


def _handed_over(call: Generation, result: Any, *, streamed: bool) -> Any:
    """Give the caller its result: a stream inside a proxy, a response as it is."""
    call.asked = 0
    try:
        if streamed:
            return streams.proxy(result, call, _Reader(call) if call.observed else None)
        if call.observed:
            _read_response(call, result)
    except Exception as problem:  # noqa: BLE001  # ours, not the user's
        fault("DSPy's result", problem)
    call.end(COMPLETED)
    return result


def _read_response(call: Generation, response: Any) -> None:
    call.response_id, call.response_model = response.id, response.model
    call.finish_reasons[0] = str(response.finish_reason)
    call.usage = _usage(call, response.usage)
    call.answered(response.message)


class _Reader:
    """Reads lm15's events. A start event is a chunk as well, if one without content."""

    def __init__(self, call: Generation) -> None:
        self._call = call

    def __call__(self, asked: int, arrived: int, event: Any) -> None:
        call = self._call
        if event.type == "delta":
            delta = event.delta
            kind = delta.type
            if kind == "text":
                if delta.text:
                    call.text(asked, arrived, delta.text)
                    return
            elif kind == "thinking":
                call.generated(asked, arrived, REASONING, delta.text)
                return
            elif kind == "tool_call":
                call.tool_calls(asked, arrived, [(delta.part_index, delta.id, delta.name, delta.input)])
                return
            elif kind == "audio":
                call.chunk(asked, arrived, AUDIO, 0, None, None)
                return
        elif event.type == "start":
            call.response_id, call.response_model = event.id, event.model
        elif event.type == "end":
            if event.finish_reason is not None:
                call.finish_reasons[0] = str(event.finish_reason)
            call.usage = _usage(call, event.usage)
        call.chunk(asked, arrived, EMPTY, 0, None, None)


def _usage(call: Generation, reported: Any) -> Usage | None:
    """Bring lm15's counts, which are each provider's own, to the convention's meaning.

    The convention's input includes cached tokens, which Anthropic counts apart, and its output
    includes reasoning, which Gemini and xAI count apart.
    """
    prompt, output = count(reported, "input_tokens"), count(reported, "output_tokens")
    if prompt is None and output is None:
        return None
    read, written = count(reported, "cache_read_tokens"), count(reported, "cache_write_tokens")
    reasoning = count(reported, "reasoning_tokens")
    if call.request.provider == "anthropic" and prompt is not None:
        prompt += (read or 0) + (written or 0)
    if call.request.provider in ("gcp.gemini", "x_ai") and output is not None:
        output += reasoning or 0
    return Usage(input=prompt, output=output, cache_read=read, cache_write=written, reasoning=reasoning)
