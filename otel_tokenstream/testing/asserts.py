"""What a test expects of a stream; a failure shows the stream's timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_tokenstream import signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tokenstream.testing import Event, Generation

_MOST_LINES = 40


def no_stall(generation: Generation, longer_than: float | None) -> None:
    """Raise AssertionError where a read was blocked for the stall threshold, or for ``longer_than`` seconds."""
    __tracebackhide__ = True
    said = generation.attributes
    if longer_than is None:
        count = said.get(signals.STALL_COUNT, 0)
        if count:
            _fail(generation, f"{count} {'stall' if count == 1 else 'stalls'}, the longest {_longest(said)}")
    elif said.get(signals.WAIT_MAX_MS, 0) > longer_than * 1_000:
        _fail(generation, f"a read was blocked for {_longest(said)}, longer than {longer_than:g} s")


def first_token_within(generation: Generation, seconds: float) -> None:
    """Raise AssertionError where the first token came later than ``seconds`` after the call, or never."""
    __tracebackhide__ = True
    first = generation.attributes.get(signals.TIME_TO_FIRST_TOKEN_MS)
    if first is None:
        _fail(generation, f"no token came, and the first was due within {seconds:g} s")
    elif first > seconds * 1_000:
        _fail(generation, f"the first token came after {_time(first)}, later than {seconds:g} s")


def outcome(generation: Generation, expected: str, error_type: str | None) -> None:
    """Raise AssertionError where the call ended otherwise, or by another error."""
    __tracebackhide__ = True
    if generation.outcome != expected:
        _fail(generation, f"the call {generation.outcome}, expected {expected}")
    found = generation.attributes.get(signals.ERROR_TYPE)
    if error_type is not None and found != error_type:
        _fail(generation, f"the error is {found}, expected {error_type}")


def _fail(generation: Generation, message: str) -> None:
    __tracebackhide__ = True
    shown = f"{message}\n{timeline(generation)}"
    raise AssertionError(shown)


def timeline(generation: Generation) -> str:
    """Return what came of a stream and when, a line each; of very many lines those in the middle are left out."""
    said = generation.attributes
    lines = [f"{at / 1e3:>12,.1f} ms  {text}" for at, text in sorted(_moments(generation), key=lambda each: each[0])]
    if len(lines) > _MOST_LINES:
        left_out = len(lines) - _MOST_LINES
        half = _MOST_LINES // 2
        lines[half:-half] = [f"{'':>12}     … {left_out} more"]
    parts = [
        f"{name} {_time(said[key])}"
        for name, key in (
            ("opening", signals.OPENING_MS),
            ("provider", signals.WAIT_TOTAL_MS),
            ("consumer", signals.CONSUMER_TOTAL_MS),
        )
        if key in said
    ]
    head = f"{generation.name}: {generation.outcome} after {_time(_duration_us(generation) / 1e3)}"
    return "\n".join(["; ".join([head, ", ".join(parts)]) if parts else head, *lines])


def _moments(generation: Generation) -> Iterator[tuple[float, str]]:
    said = generation.attributes
    yield 0, "call"
    if signals.OPENING_MS in said:
        yield said[signals.OPENING_MS] * 1e3, "stream handed out"
    for event in generation.events:
        if signals.AT_OFFSET_US in event.attributes:
            yield event.attributes[signals.AT_OFFSET_US], _text(event)
    yield _duration_us(generation), _ending(said)


def _text(event: Event) -> str:
    of = event.attributes
    wait = _time(of.get(signals.AT_WAIT_US, 0) / 1e3)
    if event.name == signals.TOKEN_EVENT:
        count = of.get(signals.AT_COUNT, 1)
        index = of[signals.AT_INDEX]
        chunks = f"chunk {index}" if count < 2 else f"chunks {index} to {index + count - 1}"
        kind = of.get(signals.AT_FIELD) or of.get(signals.AT_KIND, "text")
        return f"{chunks}: {of[signals.AT_CHARS]} characters of {kind}, waited {wait}"
    if event.name == signals.STALL_EVENT:
        return f"end of a stall of {wait} before chunk {of[signals.AT_INDEX]}"
    if event.name == signals.ATTEMPT_EVENT:
        error = of.get(signals.AT_ERROR_TYPE)
        return f"attempt {of[signals.AT_NUMBER]}{f', which failed: {error}' if error else ''}"
    return event.name.removeprefix("tokenstream.").replace("_", " ")


def _ending(said: Mapping[str, Any]) -> str:
    error = said.get(signals.ERROR_TYPE)
    return f"{said[signals.OUTCOME]}: {error}" if error else str(said[signals.OUTCOME])


def _duration_us(generation: Generation) -> float:
    return ((generation.span.end_time or 0) - (generation.span.start_time or 0)) / 1e3


def _longest(said: Mapping[str, Any]) -> str:
    return _time(said.get(signals.WAIT_MAX_MS, 0))


def _time(milliseconds: float) -> str:
    return f"{milliseconds / 1_000:.2f} s" if milliseconds >= 1_000 else f"{milliseconds:.0f} ms"
