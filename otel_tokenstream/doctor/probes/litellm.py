"""Calls of the installed litellm."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import litellm as installed

from otel_tokenstream.doctor.probes import Probe

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its functions depend on its version.
litellm: Any = installed

_QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
_CLAUDE, _GEMINI = "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"


def probes(base_url: str) -> Iterator[Probe]:
    """Yield plain, streamed, async and routed calls; ``base_url`` is the scripted provider's, with /v1."""
    at = {"api_base": base_url, "api_key": "none", "max_retries": 0}
    for stream in (False, True):
        yield from _chat_and_text(at, stream=stream)
        yield from _routed(at, stream=stream)
        yield from _responses(at, stream=stream)
        yield from _messages({**at, "api_base": f"http://{urlsplit(base_url).netloc}"}, stream=stream)
    for name in ("generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream"):
        yield Probe(name, partial(_google, name, at), f"litellm.{name}")


def _how(*, stream: bool) -> str:
    return " streamed" if stream else ""


def _chat_and_text(at: dict[str, Any], *, stream: bool) -> Iterator[Probe]:
    chat = {"model": "openai/test", "messages": _QUESTION, "stream": stream, **at}
    text = {"model": "deepseek/test", "prompt": "Why?", "stream": stream, **at}
    for name, asked in (
        ("completion", chat),
        ("acompletion", chat),
        ("text_completion", text),
        ("atext_completion", text),
    ):
        yield Probe(f"{name}{_how(stream=stream)}", partial(_call, name, asked), f"litellm.{name}")


def _routed(at: dict[str, Any], *, stream: bool) -> Iterator[Probe]:
    """The first deployment fails, and the answer comes from the other one."""
    router = litellm.Router(
        model_list=[
            {"model_name": "broken", "litellm_params": {"model": "openai/broken", **at}},
            {"model_name": "whole", "litellm_params": {"model": "openai/test", **at}},
        ],
        fallbacks=[{"broken": ["whole"]}],
        num_retries=0,
    )
    for name, entry in (("completion", "litellm.Router"), ("acompletion", "litellm.Router's async methods")):
        yield Probe(
            f"Router.{name}{_how(stream=stream)}",
            partial(getattr(router, name), model="broken", messages=_QUESTION, stream=stream),
            entry,
            first="chat broken",
        )


def _responses(at: dict[str, Any], *, stream: bool) -> Iterator[Probe]:
    asked = {"model": "openai/gpt-4o", "input": "Why?", "stream": stream, **at}
    for name in ("responses", "aresponses"):
        yield Probe(f"{name}{_how(stream=stream)}", partial(_call, name, asked), f"litellm.{name}")


def _messages(at: dict[str, Any], *, stream: bool) -> Iterator[Probe]:
    asked = {"model": _CLAUDE, "max_tokens": 9, "messages": _QUESTION, "stream": stream, **at}
    for native in (False, True) if hasattr(litellm, "rust") else (False,):
        yield Probe(
            f"anthropic.messages.acreate{_how(stream=stream)}{' natively' if native else ''}",
            lambda: litellm.anthropic.messages.acreate(**asked),
            "litellm's async native routes" if native else "litellm.anthropic_messages",
            native,
        )


def _call(name: str, asked: dict[str, Any]) -> Any:
    """Look the function up only when it is called: older versions lack some."""
    return getattr(litellm, name)(**asked)


def _google(name: str, at: dict[str, Any]) -> Any:
    from litellm import google_genai  # noqa: PLC0415  # not in every version

    contents = [{"role": "user", "parts": [{"text": "Why?"}]}]
    return getattr(google_genai, name)(model=_GEMINI, contents=contents, **at)


def allow_native(allowed: bool) -> None:
    """Let litellm answer by native code or not, where this version has any."""
    if hasattr(litellm, "rust"):
        litellm.rust(allowed)
