from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from opentelemetry.context import attach, detach, set_value
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_tokenstream import signals
from otel_tokenstream.core.call.model_call import COMPLETED
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.content.transcript import Captured
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.demo.provider import ROLE, Script, reasoning, tool_call
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import Capture, capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

GENAI_KEY = "opentelemetry.genai.client.inference.context"
CONTENT = (
    signals.INPUT_MESSAGES,
    signals.OUTPUT_MESSAGES,
    signals.SYSTEM_INSTRUCTIONS,
    signals.TOOL_DEFINITIONS,
)
SECRET, IMAGE = "alice@example.com", "iVBORw0KGgo" * 40
QUESTION = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": f"I am {SECRET}"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        ],
    }
]
ANSWER = [reasoning("Who is "), reasoning(SECRET), "Hello ", *SECRET, tool_call('{"to": 1}', name="get", call_id="c1")]
TOOLS = [{"type": "function", "function": {"name": "get", "description": f"of {SECRET}", "parameters": {}}}]
WHOLE = Request("chat", "scripted", "test", stream=True, messages=QUESTION, system=f"for {SECRET}", tools=TOOLS)


def mask(text: str) -> str:
    return re.sub(r"[\w.]+@\w[\w.]*", "[email]", text)


def ask(provider: ScriptedProvider, *, stream: bool = True, pieces: Any = ANSWER, ending: Any = "natural") -> None:
    provider.scripts["answer"] = Script(pieces=pieces, gap=0.001, ending=ending)
    options = {"api_base": provider.base_url, "api_key": "none", "num_retries": 0, "temperature": 0.5}
    answer = litellm.completion(
        "openai/answer", QUESTION, tools=TOOLS, _skip_mcp_handler=True, stream=stream, **options
    )
    for _ in answer if stream else ():
        pass


def as_said(value: Any) -> Any:
    """Undo what the SDK makes of a structure: tuples of lists."""
    return json.loads(json.dumps(value, default=dict))


def details(captured: Capture) -> list[Any]:
    return [record for record in captured.logs if record.name == signals.DETAILS_RECORD]


@pytest.mark.parametrize("hook", [None, mask], ids=["raw", "redacted"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("mode", ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"])
def test_a_call_has_one_record_where_content_is_on_events(
    provider: ScriptedProvider, mode: str, stream: bool, hook: Callable[[str], str] | None
) -> None:
    """With prompt, answer and tools as spans have them, redacted and without base64; in the other modes none."""
    with capture(capture_content=mode, redact=hook) as captured:
        ask(provider, stream=stream)
    (generation,) = captured.generations
    on_span = {name: generation.attributes[name] for name in CONTENT if name in generation.attributes}
    assert bool(on_span) is (mode in ("SPAN_ONLY", "SPAN_AND_EVENT"))
    if mode in ("NO_CONTENT", "SPAN_ONLY"):
        assert captured.logs == []
        return
    (record,) = captured.logs
    said = {name: as_said(record.attributes[name]) for name in CONTENT if name in record.attributes}
    assert set(said) == {signals.INPUT_MESSAGES, signals.OUTPUT_MESSAGES, signals.TOOL_DEFINITIONS}
    (answer,) = said[signals.OUTPUT_MESSAGES]
    shown = "[email]" if hook else SECRET
    assert [part.get("content") for part in answer["parts"]] == [f"Who is {shown}", f"Hello {shown}", None]
    everything = repr(record.attributes)
    assert everything.count(shown) == 4
    assert (SECRET in everything) is (hook is None)
    assert IMAGE[:40] not in everything
    if on_span:
        assert {name: json.loads(value) for name, value in on_span.items()} == said


def test_record_has_all_four_attributes_of_content(record: Any) -> None:
    """Instructions that were given apart from the messages among them."""
    telemetry, captured = record(capture_content="EVENT_ONLY")
    call = telemetry.start(WHOLE)
    call.text(call.started + 1, call.started + 2, "Hello")
    call.end(COMPLETED)
    (told,) = details(captured)
    assert set(CONTENT) <= set(told.attributes)
    assert as_said(told.attributes[signals.SYSTEM_INSTRUCTIONS]) == [{"type": "text", "content": f"for {SECRET}"}]


def test_a_number_too_large_for_otlp_is_text(provider: ScriptedProvider) -> None:
    """An exporter leaves out an attribute that has one anywhere: the whole answer."""
    large = 123456789012345678901234
    with capture(capture_content="EVENT_ONLY") as captured:
        ask(provider, pieces=[tool_call(f'{{"id": {large}, "n": 5}}', name="get", call_id="c1")])
        (exported,) = captured._logs.get_finished_logs()
    (record,) = captured.logs
    (answer,) = as_said(record.attributes[signals.OUTPUT_MESSAGES])
    assert answer["parts"][0]["arguments"] == {"id": str(large), "n": 5}
    assert str(large).encode() in encode_logs([exported]).SerializeToString()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
def test_the_record_agrees_with_its_span(provider: ScriptedProvider, stream: bool) -> None:
    """The conventions' attributes of request and response and the outcome, at the time of the span's end."""
    with capture(capture_content="SPAN_AND_EVENT") as captured:
        ask(provider, stream=stream)
        (exported,) = captured._logs.get_finished_logs()
        (generation,) = captured.generations
    (record,) = captured.logs
    known = signals.RECORDS[signals.DETAILS_RECORD].attributes
    on_span = {name: value for name, value in generation.attributes.items() if name in known}
    structured = {name: json.loads(value) for name, value in on_span.items() if name in CONTENT}
    assert as_said(record.attributes) == as_said({**on_span, **structured})
    assert {signals.REQUEST_TEMPERATURE, signals.RESPONSE_MODEL, signals.FINISH_REASONS} <= set(record.attributes)
    assert (signals.REQUEST_STREAM in record.attributes) is stream
    assert record.at == generation.span.end_time
    context = generation.span.context
    assert (exported.log_record.trace_id, exported.log_record.span_id) == (context.trace_id, context.span_id)
    assert SECRET.encode() in encode_logs([exported]).SerializeToString()


@pytest.mark.parametrize("events", ["span", "log", "both", "none"])
def test_where_token_events_go_does_not_matter(provider: ScriptedProvider, events: str) -> None:
    """The convention ties the record to the content mode alone; it is the last of a stream's records."""
    with capture(capture_content="EVENT_ONLY", events=events) as captured:
        ask(provider)
    assert [record.name for record in captured.logs].count(signals.DETAILS_RECORD) == 1
    assert captured.logs[-1].name == signals.DETAILS_RECORD
    assert (len(captured.logs) > 1) is (events in ("log", "both"))


def test_the_record_of_a_broken_stream_has_the_text_so_far(provider: ScriptedProvider) -> None:
    """With error as its finish reason and the class of the error, not its text."""
    with capture(capture_content="EVENT_ONLY") as captured, pytest.raises(litellm.exceptions.MidStreamFallbackError):
        ask(provider, pieces=[ROLE, "Hello ", "there"], ending="error_frame")
    (record,) = captured.logs
    (generation,) = captured.generations
    assert as_said(record.attributes[signals.OUTPUT_MESSAGES]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hello there"}], "finish_reason": "error"}
    ]
    assert record.attributes[signals.ERROR_TYPE] == generation.attributes[signals.ERROR_TYPE]
    assert record.attributes[signals.OUTCOME] == "failed"


def test_an_unsampled_call_has_its_record() -> None:
    """Sampling is of traces; nothing goes to the span."""
    exporter: InMemoryLogRecordExporter = InMemoryLogRecordExporter()
    loggers = LoggerProvider()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    call = Telemetry(
        Settings(capture_content="SPAN_AND_EVENT"), TracerProvider(sampler=ALWAYS_OFF), logger_provider=loggers
    ).start(WHOLE)
    assert call is not None
    call.text(call.started + 1, call.started + 2, "Hello")
    call.end(COMPLETED)
    (told,) = exporter.get_finished_logs()
    assert "Hello" in repr(told.log_record.attributes[signals.OUTPUT_MESSAGES])


def test_content_is_let_go_of_when_the_record_has_left(record: Any) -> None:
    """A caller may keep its stream, which keeps the call."""
    telemetry, captured = record(capture_content="EVENT_ONLY")
    call = telemetry.start(WHOLE)
    call.text(call.started + 1, call.started + 2, "Hello")
    call.end(COMPLETED)
    call.end(COMPLETED)
    assert len(details(captured)) == 1
    assert (call.transcript.prompt, call.transcript.system, call.transcript.tools) == (None, None, None)
    assert call.transcript.runs == []


def test_without_a_logger_provider_nothing_is_kept() -> None:
    """The API's own leads nowhere: a call need not remember what is said."""
    with capture() as captured:
        settings = Settings(capture_content="EVENT_ONLY")
        call = Telemetry(settings, captured.tracer_provider, captured.meter_provider).start(WHOLE)
        assert call is not None
        assert not isinstance(call, Captured)
        call.end(COMPLETED)


def test_a_call_of_another_instrumentation_has_no_second_record(record: Any) -> None:
    """Who has the span emits the record, by the same variable."""
    telemetry, captured = record(capture_content="SPAN_AND_EVENT")
    with captured.tracer_provider.get_tracer("theirs").start_as_current_span("chat test") as span:
        token = attach(set_value(GENAI_KEY, object()))
        telemetry.start(WHOLE).end(COMPLETED)
        detach(token)
        assert signals.INPUT_MESSAGES in span.attributes
    assert details(captured) == []


def test_the_sdk_does_not_cut_the_texts_of_a_record(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own limit for log records, which cuts anywhere, is respected beforehand."""
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "150")
    with capture(capture_content="EVENT_ONLY") as captured:
        ask(provider, pieces=[f"word {number} " for number in range(200)])
    (record,) = captured.logs
    (answer,) = record.attributes[signals.OUTPUT_MESSAGES]
    assert answer["parts"][0]["content"].endswith("bytes left out]")


def test_128_full_records_fit_into_a_message(record: Any) -> None:
    """With the batch size the documentation gives, a gRPC receiver at its default takes every batch."""
    telemetry, captured = record(capture_content="EVENT_ONLY")
    call = telemetry.start(Request("chat", "scripted", "test", stream=True, messages="question " * 2_000))
    call.text(call.started + 1, call.started + 2, "answer " * 2_000)
    call.end(COMPLETED)
    (exported,) = captured._logs.get_finished_logs()
    message = encode_logs([exported] * 128).SerializeToString()
    assert 1.5 * 1024**2 < len(message) < 4 * 1024**2


def test_record_has_no_text_with_a_limit_of_0(provider: ScriptedProvider) -> None:
    """The rest of it is there."""
    with capture(capture_content="EVENT_ONLY", content_limit=0) as captured:
        ask(provider)
    (record,) = captured.logs
    assert not set(CONTENT) & set(record.attributes)
    assert record.attributes[signals.OUTCOME] == "completed"
