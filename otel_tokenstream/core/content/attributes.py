"""Content attributes of spans and of records of calls, where content is captured.

It is JSON in the structure of the conventions. Every text passes here on its way into a signal:
repaired, without base64, redacted, and cut to its limit, in this order.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals
from otel_tokenstream.core.call.chunk_kinds import REASONING, TEXT, TOOL_CALL
from otel_tokenstream.core.call.model_call import FAILED
from otel_tokenstream.core.content import messages
from otel_tokenstream.core.content.redaction import StreamingRedactor, redacted, sanitize
from otel_tokenstream.core.runtime.guard import guarded
from otel_tokenstream.core.runtime.sanitize import cut, left_out, repaired, size, without_base64

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_tokenstream.core.content.redaction import RedactionHook
    from otel_tokenstream.core.content.transcript import Captured, Run
    from otel_tokenstream.settings import Settings

_LEAST = 64
# The conventions' words where providers have others.
_FINISH_REASONS = {
    **dict.fromkeys(("tool_calls", "function_call", "tool_use"), "tool_call"),
    **dict.fromkeys(("end_turn", "stop_sequence", "STOP"), "stop"),
    **dict.fromkeys(("max_tokens", "MAX_TOKENS"), "length"),
    **dict.fromkeys(("refusal", "SAFETY"), "content_filter"),
}
_ROLES = ("system", "developer", "user", "assistant", "tool")
_LONGEST_TYPE = 64

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def content_attributes(call: Captured, settings: Settings, *limits: int | None) -> dict[str, str]:
    """Return prompt and answer as JSON, each within the settings' limits and the SDK's: bytes, or None for no limit.

    What all of them may take is shared out in this order: the answer, the prompt from its newest
    message on, the instructions, the tools.
    """
    transcript, hook = call.transcript, settings.redact
    limit = settings.content_share
    value_limit = min([settings.value_limit, *(each for each in limits if each is not None)])
    builders: tuple[tuple[str, Callable[[int], str | None]], ...] = (
        (signals.OUTPUT_MESSAGES, lambda most: _messages(_output(call, hook), most, hook)),
        (signals.INPUT_MESSAGES, lambda most: _messages(_input(transcript.prompt), most, hook)),
        (signals.SYSTEM_INSTRUCTIONS, lambda most: _instructions(transcript.system, most, hook)),
        (signals.TOOL_DEFINITIONS, lambda most: _tools(transcript.tools, most, hook)),
    )
    attributes: dict[str, str] = {}
    for name, build in builders:
        value = guarded(build)(min(limit, value_limit)) if limit >= _LEAST else None
        if value is not None:
            attributes[name] = value
            limit -= size(value)
    return attributes


def value_attribute(value: object, settings: Settings) -> str | None:
    """Return one value, of a tool's arguments say: a text as it is, anything else as JSON; None without room for it."""
    limit, hook = min(settings.content_share, settings.value_limit), settings.redact
    if limit < _LEAST:
        return None
    shown = _structured(_shown(value, hook), hook)
    return cut(shown, limit) if isinstance(shown, str) else _within(shown, limit)


# --- The values of a call -----------------------------------------------------------------


def _input(prompt: object) -> list[messages.Message]:
    if prompt is None:
        return []
    said = prompt if isinstance(prompt, list) else [prompt]
    return [messages.message(each) for each in said]


def _output(call: Captured, hook: RedactionHook | None) -> list[messages.Message]:
    said: dict[int, list[messages.Part]] = {}
    for choice, answer in call.transcript.answers.items():
        items = answer if isinstance(answer, (list, tuple)) else [answer]
        said[choice] = [part for item in items for part in messages.message(item, "assistant")["parts"]]
    for run in call.transcript.runs:
        if run.choice in call.transcript.answers:  # the stream's last event had all of it once more
            continue
        said.setdefault(run.choice, []).extend([_streamed(run, hook)] if run.parts is None else run.parts)
    made = []
    for choice in sorted(said):
        message = {"role": "assistant", "parts": said[choice]}
        reason = call.finish_reasons.get(choice, "error" if call.outcome == FAILED else None)
        if reason is not None:
            message["finish_reason"] = _FINISH_REASONS.get(reason, reason)
        made.append(message)
    return made


def _streamed(run: Run, hook: RedactionHook | None) -> messages.Part:
    text = "".join(run.pieces)
    if run.missing:
        redactor = StreamingRedactor(hook, run.kind)
        text = redactor.feed(text) + redactor.close(torn=True)
        text += left_out(run.missing + size("".join(run.pieces)) - size(text) if hook else run.missing)
    if run.kind == TOOL_CALL:
        return messages.tool_call(run.call_id, run.name, text)
    kinds = {TEXT: "text", REASONING: "reasoning"}
    return {"type": kinds.get(run.kind, run.kind), "content": text}


def _messages(said: list[messages.Message], limit: int, hook: RedactionHook | None) -> str | None:
    """Return the newest messages as far as there is room; the one that exceeds it is shortened."""
    kept: deque[str] = deque()
    left = limit - 2
    for at in range(len(said) - 1, -1, -1):
        earlier = _omitted(at)
        room = left - (size(earlier) + 1 if at else 0)
        message = {name: _of_message(name, value, hook) for name, value in said[at].items()}
        text = _within(message, room)
        if text is None:
            kept.appendleft(_omitted(at + 1))
            break
        kept.appendleft(text)
        left -= size(text) + 1
    return "[" + ",".join(kept) + "]" if kept and said else None


def _of_message(name: str, value: Any, hook: RedactionHook | None) -> Any:
    """Return what a message has beside its parts, their author say, like any text; the conventions' own words stay."""
    if name == "parts":
        return [_part(part, hook) for part in value]
    known = name == "role" and value in _ROLES
    return value if known else sanitize(value, None if name == "finish_reason" else hook)


def _omitted(count: int) -> str:
    return _dumps({"role": "omitted", "parts": [{"type": "omitted", "content": f"[{count} messages left out]"}]})


def _instructions(system: object, limit: int, hook: RedactionHook | None) -> str | None:
    parts = messages.parts(system)
    return _within([_part(part, hook) for part in parts], limit) if parts else None


def _tools(tools: object, limit: int, hook: RedactionHook | None) -> str | None:
    """Return the definitions, only types and names where there is no room for more."""
    if not isinstance(tools, list) or not tools:
        return None
    made = [_part(messages.tool(each), hook) for each in tools]
    whole = _within(made, limit, shortened=False)
    return whole or _within([{"type": each["type"], "name": each["name"]} for each in made], limit, shortened=False)


def _within(value: Any, limit: int, *, shortened: bool = True) -> str | None:
    """Return JSON of at most ``limit`` bytes, its longest texts cut as far as it takes; None if that is not enough."""
    text: str = _dumps(value)
    excess = size(text) - limit
    longest = max((size(each) for each in _texts(value)), default=0)
    if excess > 0 and shortened:
        most = max(longest - excess, longest // 2)
        while excess > 0 and most >= _LEAST:
            text = _dumps(_shortened(value, most))
            excess = size(text) - limit
            most //= 2
        if excess > 0 and longest > _LEAST:
            text = _dumps(_shortened(value, _LEAST))
            excess = size(text) - limit
    return text if excess <= 0 else None


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _shortened(value: object, most: int) -> object:
    if isinstance(value, str):
        return cut(value, most)
    if isinstance(value, dict):
        return {key: _shortened(each, most) for key, each in value.items()}
    return [_shortened(each, most) for each in value] if isinstance(value, list) else value


# --- One part -----------------------------------------------------------------------------


def _part(part: messages.Part, hook: RedactionHook | None) -> messages.Part:
    shown: messages.Part = {}
    for key, value in part.items():
        if key in ("type", "modality"):
            shown[key] = repaired(str(value))[:_LONGEST_TYPE]
        else:
            shown[key] = _structured(_shown(value, hook), hook)
    return shown


def _shown(value: object, hook: RedactionHook | None) -> Any:
    """Return plain JSON values in which each text was repaired, stripped of base64 and redacted."""
    if isinstance(value, str):
        return redacted(hook, without_base64(repaired(value)))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        text = str(value)
        redaction = redacted(hook, text)
        return value if redaction == text and math.isfinite(value) else redaction
    if isinstance(value, Mapping):
        return {_shown(str(key), hook): _shown(each, hook) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(each, hook) for each in value]
    return f"<{type(value).__qualname__}>"


def _structured(value: Any, hook: RedactionHook | None) -> Any:
    """Show the hook arguments and results as a whole too: what it looks for may be a name with its value."""
    if hook is None or not isinstance(value, (dict, list)):
        return value
    text = _dumps(value)
    redaction = redacted(hook, text)
    return value if redaction == text else messages.parsed(redaction)
