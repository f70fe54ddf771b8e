"""Nothing of a prompt, an answer or an error's text is in the bytes that leave the process, unless it was asked for."""

from __future__ import annotations

import logging
import re
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

from otel_tokenstream import DSPyInstrumentor, LiteLLMInstrumentor, Redactor, correlate, step
from otel_tokenstream.core.runtime import guard
from otel_tokenstream.demo.provider import Piece, Script, audio, reasoning, refusal, tool_call

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
AUTHOR, REFUSAL, SOUND, CALL_ID = b"canary-author-a3", b"canary-refusal-b4", b"canary-sound-c5", b"canary-id-d6"
# Attributes of the request and of a tool's span, by the conventions, whether content is on or off.
STOP, NAME, WHO = b"canary-stop-f7", b"canary-name-08", b"canary-who-19"
NEVER = (USER, KEY, PROVIDER_ERROR, PROGRAM_ERROR)
SAID = (SYSTEM, PROMPT, TOOL, RESULT, OUTPUT, THOUGHT, ARGUMENTS, AUTHOR, REFUSAL, SOUND, CALL_ID)
ALL = (*SAID, STOP, NAME, WHO, *NEVER)
ANY = re.compile(r"canary-\w+-[0-9a-f]{2}")

ENDINGS = ("natural", "http_error", "error_frame", "cut", "raises")
# Where a stream breaks off in the midst of a canary there is no whole one to be found.
WHOLE = ("natural", "http_error", "error_frame")


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
        thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
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


def script(provider: ScriptedProvider, ending: str, *, tools: bool, letters: bool) -> None:
    """Script an answer with a canary in each of its parts, whole or a letter a chunk."""

    def split(canary: bytes) -> list[str]:
        return list(canary.decode()) if letters else [canary.decode()]

    arguments = ['{"city": "', *split(ARGUMENTS), '"}']
    calls = [tool_call("", name=NAME.decode(), call_id=CALL_ID.decode()), *map(tool_call, arguments)]
    answer = ["[[ ## answer ## ]]\n", *split(OUTPUT), "\n\n[[ ## completed ## ]]\n"]
    # litellm lets a refusal through only where the chunk has text as well.
    refused = [Piece("text", ".", beside=refusal(part)) for part in split(REFUSAL)]
    rest = [*refused, *map(audio, split(SOUND)), *calls]
    provider.scripts["canary"] = Script(
        pieces=[*map(reasoning, split(THOUGHT)), *answer, *(rest if tools else ())],
        gap=0.001,
        ending="natural" if ending == "raises" else ending,  # type: ignore[arg-type]
        error_message=f"no: {PROVIDER_ERROR.decode()}",
        error_type=PROVIDER_ERROR.decode(),
    )


def ask_litellm(provider: ScriptedProvider, ending: str, *, stream: bool, letters: bool = False) -> None:
    script(provider, ending, tools=True, letters=letters)
    messages = [
        {"role": "system", "content": SYSTEM.decode()},
        {"role": "user", "content": PROMPT.decode(), "name": AUTHOR.decode()},
        {"role": "assistant", "content": None, "tool_calls": [_called()]},
        {"role": "tool", "tool_call_id": CALL_ID.decode(), "content": RESULT.decode()},
    ]
    answer = litellm.completion(
        "openai/canary",
        messages,
        tools=[
            {"type": "function", "function": {"name": NAME.decode(), "description": TOOL.decode(), "parameters": {}}}
        ],
        stop=[STOP.decode()],
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
        "id": CALL_ID.decode(),
        "type": "function",
        "function": {"name": NAME.decode(), "arguments": f'{{"at": "{ARGUMENTS.decode()}"}}'},
    }


class Program(dspy.Module):
    """A step that may fail in the program's own code after the model's answer."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.answer = dspy.Predict(dspy.Signature("question, result -> answer", SYSTEM.decode()))
        self.ending = ending

    def forward(self, question: str) -> Any:
        tool = dspy.Tool(lambda at: RESULT.decode() + at, name=NAME.decode(), args={"at": {"type": "string"}})
        call = {"id": CALL_ID.decode(), "name": NAME.decode(), "args": {"at": ARGUMENTS.decode()}}
        result = dspy.ToolCalls.ToolCall(**call).execute(functions=[tool])
        prediction = self.answer(question=question, result=result)
        if self.ending == "raises":
            raise RuntimeError(PROGRAM_ERROR.decode())
        return prediction


def ask_dspy(engine: str) -> Callable[..., None]:
    def ask(provider: ScriptedProvider, ending: str, *, stream: bool, letters: bool = False) -> None:
        script(provider, ending, tools=False, letters=letters)
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
    """With everything on but content, no canary is in the bytes of traces, metrics and logs.

    Stop sequences, name and id on a tool's own span, and what ``correlate`` is given are no content.
    """
    with exporting(receiver), correlate(user_id=WHO.decode()):
        with suppress(Exception):
            ASKS[ask](provider, ending, stream=stream)
        guard.fault(f"{ask}, {ending}, {stream}", ValueError(PROMPT.decode()))
    assert provider.log.exchanges(), "nothing was asked"
    assert set(receiver.received) == {"traces", "metrics", "messages", *(("logs",) if stream else ())}
    assert b"gen_ai.request.model" in receiver.received["traces"]
    found = leaked(receiver)
    open_to_all = {STOP, NAME, WHO} if ask == "litellm" else {NAME, CALL_ID, WHO}
    assert {(signal, canary) for signal, canary in found if canary not in open_to_all} == set()
    assert {signal for signal, _ in found} <= {"traces", "logs"}
    assert ("traces", WHO) in found
    assert ("traces", STOP if ask == "litellm" else NAME) in found


def masked(text: str) -> str:
    return ANY.sub("[masked]", text)


@pytest.mark.parametrize("letters", [True, False], ids=["letters", "whole"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("hook", [masked, Redactor(masked, longest=24)], ids=["plain", "declared"])
@pytest.mark.parametrize("ask", ASKS)
def test_a_hook_redacts_its_matches_in_all_signals(
    receiver: Receiver, provider: ScriptedProvider, ask: str, stream: bool, hook: Callable[[str], str], letters: bool
) -> None:
    """With content on: in texts, arguments, names, ids, stop sequences, and who a call is for."""
    who = {"conversation_id": WHO.decode(), "user_id": WHO.decode(), "request_id": WHO.decode()}
    with exporting(receiver, capture_content="SPAN_AND_EVENT", redact=hook), correlate(operation=WHO.decode(), **who):
        for ending in WHOLE if letters else ENDINGS:
            with suppress(Exception), step(WHO.decode(), question=PROMPT.decode(), passages=[RESULT.decode()]):
                ASKS[ask](provider, ending, stream=stream, letters=letters)
    assert leaked(receiver) == set()
    assert b"[masked]" in receiver.received["traces"]
    assert b"[masked]" in receiver.received["logs"]
    for part in (b"canary-out", b"nary-output", b"canary-thou", b"canary-argu"):
        assert not any(part in sent for sent in receiver.received.values())


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("ask", ASKS)
def test_with_content_on_the_same_canaries_are_found(
    receiver: Receiver, provider: ScriptedProvider, ask: str, stream: bool
) -> None:
    """So that the search above can be trusted; user ids, keys and texts of errors do not leave even then."""
    with exporting(receiver, capture_content="SPAN_AND_EVENT"), correlate(user_id=WHO.decode()):
        for ending in ENDINGS:
            with suppress(Exception):
                ASKS[ask](provider, ending, stream=stream)
    of_chat = {TOOL, AUTHOR, REFUSAL, STOP, SOUND}
    expected = set(ALL) - set(NEVER) - (set() if ask == "litellm" else of_chat)
    expected -= set() if stream else {SOUND, REFUSAL}  # of which one is not sent then, and one kept by litellm
    found = leaked(receiver)
    assert {canary for signal, canary in found if signal == "traces"} == expected
    # A tool's own call is a span and no record; its result went into the prompt.
    of_tool = set() if ask == "litellm" else {NAME, CALL_ID}
    assert {canary for signal, canary in found if signal == "logs"} == expected - of_tool
    assert not {canary for signal, canary in found if signal in ("metrics", "messages")}
