"""Nothing of a prompt, an answer or an error's text is in the bytes that leave the process, unless it was asked for."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import dspy
import litellm
import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor
from otel_tokenstream.core import guard
from otel_tokenstream.demo.provider import Script, reasoning, tool_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider

SYSTEM, PROMPT, TOOL, RESULT = b"canary-system-5d", b"canary-prompt-7a", b"canary-tool-1f", b"canary-result-9c"
OUTPUT, THOUGHT, ARGUMENTS = b"canary-output-3b", b"canary-thought-8e", b"canary-arguments-2d"
USER, KEY, PROVIDER_ERROR, PROGRAM_ERROR = (
    b"canary-user-4c",
    b"canary-key-6f",
    b"canary-refused-0a",
    b"canary-raised-e1",
)
NEVER = (USER, KEY, PROVIDER_ERROR, PROGRAM_ERROR)
ALL = (SYSTEM, PROMPT, TOOL, RESULT, OUTPUT, THOUGHT, ARGUMENTS, *NEVER)

ENDINGS = ("natural", "http_error", "error_frame", "cut", "raises")


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps the bytes of each signal."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.received: defaultdict[str, bytes] = defaultdict(bytes)

    def endpoint(self, signal: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/{signal}"


class Messages(logging.Handler):
    """Takes log messages of this package, which programs may export as well, with all that is attached to them."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__()
        self._receiver = receiver

    def emit(self, record: logging.LogRecord) -> None:
        self._receiver.received["messages"] += self.format(record).encode()


class _Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.received[self.path.rpartition("/")[2]] += self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


@contextmanager
def exporting(receiver: Receiver, **settings: Any) -> Iterator[None]:
    """Everything on, through the real exporters, and this package's own log messages."""
    traces, logs = TracerProvider(), LoggerProvider()
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(receiver.endpoint("traces"))))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(receiver.endpoint("logs"))))
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(receiver.endpoint("metrics")), 60_000)])
    ours, handler = logging.getLogger("otel_tokenstream"), Messages(receiver)
    ours.addHandler(handler)
    instrumentors = (LiteLLMInstrumentor(), DSPyInstrumentor())
    providers = {"tracer_provider": traces, "meter_provider": meters, "logger_provider": logs}
    for instrumentor in instrumentors:
        instrumentor.instrument(events="both", **providers, **settings)
    try:
        yield
    finally:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        ours.removeHandler(handler)
        for provider in providers.values():
            provider.shutdown()


def leaked(receiver: Receiver) -> set[tuple[str, bytes]]:
    return {(signal, canary) for signal, sent in receiver.received.items() for canary in ALL if canary in sent}


def script(provider: ScriptedProvider, ending: str, *, tools: bool) -> None:
    calls = [tool_call(f'{{"city": "{ARGUMENTS.decode()}"}}', name="get", call_id="c1")]
    answer = ["[[ ## answer ## ]]\n", OUTPUT.decode(), "\n\n[[ ## completed ## ]]\n"]
    provider.scripts["canary"] = Script(
        pieces=[reasoning(THOUGHT.decode()), *answer, *(calls if tools else ())],
        gap=0.001,
        ending="natural" if ending == "raises" else ending,  # type: ignore[arg-type]
        error_message=f"no: {PROVIDER_ERROR.decode()}",
        error_type=PROVIDER_ERROR.decode(),
    )


def ask_litellm(provider: ScriptedProvider, ending: str, *, stream: bool) -> None:
    script(provider, ending, tools=True)
    messages = [
        {"role": "system", "content": SYSTEM.decode()},
        {"role": "user", "content": PROMPT.decode()},
        {"role": "assistant", "content": None, "tool_calls": [_called()]},
        {"role": "tool", "tool_call_id": "c0", "content": RESULT.decode()},
    ]
    answer = litellm.completion(
        "openai/canary",
        messages,
        tools=[{"type": "function", "function": {"name": "get", "description": TOOL.decode(), "parameters": {}}}],
        _skip_mcp_handler=True,
        user=USER.decode(),
        metadata={"user_id": USER.decode()},
        stream=stream,
        api_base=provider.base_url,
        api_key=KEY.decode(),
        num_retries=0,
    )
    for _ in answer if stream else ():
        if ending == "raises":
            answer.close()
            raise RuntimeError(PROGRAM_ERROR.decode())


def _called() -> dict[str, Any]:
    return {
        "id": "c0",
        "type": "function",
        "function": {"name": "get", "arguments": f'{{"at": "{ARGUMENTS.decode()}"}}'},
    }


class Program(dspy.Module):
    """A step that may fail in the program's own code after the model's answer."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.answer = dspy.Predict(dspy.Signature("question, result -> answer", SYSTEM.decode()))
        self.ending = ending

    def forward(self, question: str) -> Any:
        prediction = self.answer(question=question, result=RESULT.decode())
        if self.ending == "raises":
            raise RuntimeError(PROGRAM_ERROR.decode())
        return prediction


def ask_dspy(engine: str) -> Callable[..., None]:
    def ask(provider: ScriptedProvider, ending: str, *, stream: bool) -> None:
        script(provider, ending, tools=False)
        lm = dspy.LM(
            "openai/canary",
            engine=engine,
            api_base=provider.base_url,
            api_key=KEY.decode(),
            cache=False,
            num_retries=0,
            user=USER.decode(),
        )
        program: Any = Program(ending)
        with dspy.context(lm=lm):
            if stream:
                listeners = [dspy.streaming.StreamListener("answer")]
                program = dspy.streamify(program, stream_listeners=listeners, async_streaming=False)
                for _ in program(question=PROMPT.decode()):
                    pass
            else:
                program(question=PROMPT.decode())

    return ask


ASKS = {"litellm": ask_litellm, "dspy on litellm": ask_dspy("litellm"), "dspy on its own engine": ask_dspy("lm15")}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("ask", ASKS)
def test_no_content_leaves_unless_asked_for(
    receiver: Receiver, provider: ScriptedProvider, ask: str, ending: str, stream: bool
) -> None:
    """With everything on but content, no canary is in the bytes of traces, metrics and logs."""
    with exporting(receiver):
        with suppress(Exception):
            ASKS[ask](provider, ending, stream=stream)
        guard.fault(f"{ask}, {ending}, {stream}", ValueError(PROMPT.decode()))
    assert provider.log.exchanges(), "nothing was asked"
    streamed = stream and ending != "http_error"
    assert set(receiver.received) == {"traces", "metrics", "messages", *(("logs",) if streamed else ())}
    assert b"gen_ai.request.model" in receiver.received["traces"]
    assert leaked(receiver) == set()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("ask", ASKS)
def test_with_content_on_the_same_canaries_are_found(
    receiver: Receiver, provider: ScriptedProvider, ask: str, stream: bool
) -> None:
    """So that the search above can be trusted; user ids, keys and texts of errors do not leave even then."""
    with exporting(receiver, capture_content="SPAN_AND_EVENT"):
        for ending in ENDINGS:
            with suppress(Exception):
                ASKS[ask](provider, ending, stream=stream)
    expected = set(ALL) - set(NEVER) - (set() if ask == "litellm" else {TOOL, ARGUMENTS})
    found = leaked(receiver)
    assert {canary for signal, canary in found if signal == "traces"} == expected
    assert {canary for signal, canary in found if signal == "logs"} == expected
    assert not {canary for signal, canary in found if signal in ("metrics", "messages")}
