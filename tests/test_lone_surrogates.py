"""A lone surrogate, which OTLP cannot encode, costs neither an attribute nor the batch, wherever it came from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import dspy
import pytest
from opentelemetry import baggage
from opentelemetry.context import attach as make_current
from opentelemetry.context import detach
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_tokenstream import TokenCollector, correlate, signals, step
from otel_tokenstream.core.call.chunk_kinds import REASONING, TEXT
from otel_tokenstream.core.call.model_call import FAILED, now
from otel_tokenstream.core.call.request import Attempt, Request, Usage
from otel_tokenstream.core.emit.telemetry import active
from otel_tokenstream.core.runtime.guard import fault
from otel_tokenstream.live.wire import Sent, flat
from otel_tokenstream.testing import Capture, capture

if TYPE_CHECKING:
    from collections.abc import Iterator

BROKEN, WHOLE = "x\ud83d", "x\ufffd"
ODD = type("Odd", (RuntimeError,), {"__qualname__": BROKEN})()


@pytest.fixture(params=[None, str.upper], ids=["no hook", "hook"])
def everything(request: pytest.FixtureRequest) -> Iterator[tuple[Capture, TokenCollector]]:
    """What is emitted of calls, steps and tools with a lone surrogate in whatever may have one."""
    token = make_current(baggage.set_baggage("tenant", BROKEN))
    who = {"conversation_id": BROKEN, "user_id": BROKEN, "request_id": BROKEN, "operation": BROKEN}
    on = {"capture_content": "SPAN_AND_EVENT", "events": "both", "baggage_keys": ("tenant",), "redact": request.param}
    with capture(**on) as captured, TokenCollector() as collected:
        with correlate(**who):
            for ending in (ODD, None):
                call_of_a_model(ending)
            with step(BROKEN, text=BROKEN, texts=[BROKEN]) as span:
                span.add_event("noted", {"n": 1})
            with pytest.raises(type(ODD)), step("failing"):
                raise ODD
            tools()
        fault("a test", ODD)
        yield captured, collected
    detach(token)


def call_of_a_model(error: Exception | None) -> None:
    telemetry = active()
    assert telemetry is not None
    call = telemetry.start(
        Request(
            operation=BROKEN,
            provider=BROKEN,
            model=BROKEN,
            stream=True,
            server_address=BROKEN,
            server_port=80,
            parameters={
                signals.REQUEST_STOP_SEQUENCES: ["ok", BROKEN],
                signals.REQUEST_REASONING_LEVEL: BROKEN,
                signals.TEAM: BROKEN,
            },
            messages=[
                {"role": BROKEN, "content": BROKEN, "name": BROKEN},
                {"role": "assistant", "tool_calls": [called()]},
            ],
            system=BROKEN,
            tools=[
                {"type": BROKEN, "function": {"name": BROKEN, "description": BROKEN, "parameters": {BROKEN: BROKEN}}}
            ],
        )
    )
    assert call is not None
    call.answered_by(BROKEN + "2", BROKEN + "2", 81)
    call.attempted(Attempt(BROKEN, BROKEN, call.started, now(), BROKEN))
    call.attempted(Attempt(BROKEN, BROKEN, now()))
    at = call.started
    for kind, field in ((TEXT, BROKEN), (REASONING, None)):
        at += 1
        call.chunk(at - 1, at, kind, 2, field, BROKEN)
    call.tool_calls(at + 1, at + 2, [(0, BROKEN, BROKEN, '{"x": "\\ud83d"}')])
    call.response_id = call.response_model = BROKEN
    call.finish_reasons[0] = BROKEN
    call.usage = Usage(3, 4)
    if error is None:
        call.error_type = BROKEN
    call.end(FAILED, error)


def called() -> dict[str, Any]:
    return {"id": BROKEN, "type": "function", "function": {"name": BROKEN, "arguments": BROKEN}}


def tools() -> None:
    tool = dspy.Tool(lambda q: q, name=BROKEN, args={"q": {"type": "string"}})
    assert tool(q=BROKEN) == BROKEN


def test_all_of_it_can_be_encoded(everything: tuple[Capture, TokenCollector], caplog: pytest.LogCaptureFixture) -> None:
    """Spans, records and metrics, by the exporters' own encoder, and nothing is left out."""
    captured, _ = everything
    with caplog.at_level(logging.DEBUG):
        spans = encode_spans(captured.spans).SerializeToString()
        logs = encode_logs(captured._logs.get_finished_logs()).SerializeToString()
        metrics = encode_metrics(captured._metrics.get_metrics_data()).SerializeToString()
    assert "surrogate" not in caplog.text
    for sent in (spans, logs, metrics):
        assert "\ufffd".encode() in sent
    names = {span.name.lower() for span in captured.spans}
    assert {f"{WHOLE} {WHOLE}", WHOLE, "failing", f"execute_tool {WHOLE}"} <= names


def test_live_events_can_be_encoded(everything: tuple[Capture, TokenCollector]) -> None:
    """Brokers take UTF-8 only."""
    _, collected = everything
    assert {event.type for event in collected.events} >= {"start", "token", "end", "step_start", "step_end"}
    for number, event in enumerate(collected.events):
        for value in flat(Sent(number, event)).values():
            str(value).encode()
