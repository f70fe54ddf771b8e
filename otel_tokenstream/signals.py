"""Every span attribute, event and metric this package emits.

One table from which the code takes its names and from which the documentation and the
dashboards are generated. Names under ``gen_ai.`` follow the OpenTelemetry GenAI semantic
conventions; they stand here as constants of our own because the conventions package marks
them deprecated while they move to a repository of their own. Names under ``tokenstream.``
are ours.

Durations on spans are integer milliseconds and on events integer microseconds, because
TraceQL's quantiles and tail sampling's numeric policy ignore doubles. Metrics are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SCHEMA_URL = "https://opentelemetry.io/schemas/gen-ai/0.1.0"
SCOPE = "otel_tokenstream"

CONVENTION = "GenAI semantic conventions"
OURS = "otel-tokenstream"

Type = Literal["string", "string[]", "int", "int[]", "double", "boolean"]
Kind = Literal["histogram", "counter", "gauge"]


@dataclass(frozen=True)
class Attribute:
    """One span or event attribute. ``unit`` is a UCUM unit, empty for none."""

    name: str
    type: Type
    unit: str
    brief: str
    source: str


@dataclass(frozen=True)
class Event:
    """One event; ``attributes`` stand in the order in which they are sent.

    ``EVENTS`` are those of a stream, which begin with their position in it; ``RECORDS`` are log
    records about a whole call, with attributes of its span.
    """

    name: str
    attributes: tuple[str, ...]
    brief: str


@dataclass(frozen=True)
class Metric:
    """One instrument; ``buckets`` are the advised explicit bounds of a histogram, in its unit."""

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...]
    brief: str
    source: str
    buckets: tuple[float, ...] = ()


SPAN_ATTRIBUTES: dict[str, Attribute] = {}
EVENT_ATTRIBUTES: dict[str, Attribute] = {}
EVENTS: dict[str, Event] = {}
RECORDS: dict[str, Event] = {}
METRICS: dict[str, Metric] = {}


def _span(name: str, type: Type, brief: str, unit: str = "") -> str:
    source = CONVENTION if not name.startswith(("tokenstream.", "dspy.")) else OURS
    SPAN_ATTRIBUTES[name] = Attribute(name, type, unit, brief, source)
    return name


def _on_event(name: str, type: Type, brief: str, unit: str = "") -> str:
    EVENT_ATTRIBUTES[name] = Attribute(name, type, unit, brief, OURS)
    return name


def _event(name: str, attributes: tuple[str, ...], brief: str) -> str:
    EVENTS[name] = Event(name, attributes, brief)
    return name


def _record(name: str, attributes: tuple[str, ...], brief: str) -> str:
    RECORDS[name] = Event(name, attributes, brief)
    return name


def _metric(
    kind: Kind,
    name: str,
    unit: str,
    attributes: tuple[str, ...],
    brief: str,
    buckets: tuple[float, ...] = (),
) -> str:
    source = CONVENTION if name.startswith("gen_ai.") else OURS
    METRICS[name] = Metric(name, kind, unit, attributes, brief, source, buckets)
    return name


# --- The generation span ------------------------------------------------------------------

OPERATION_NAME = _span("gen_ai.operation.name", "string", "chat, text_completion or generate_content")
PROVIDER_NAME = _span("gen_ai.provider.name", "string", "The provider the request went to")
REQUEST_MODEL = _span("gen_ai.request.model", "string", "The requested model")
SERVER_ADDRESS = _span("server.address", "string", "Host the request goes to, where it is known")
SERVER_PORT = _span("server.port", "int", "Port the request goes to, where it is known")
ERROR_TYPE = _span("error.type", "string", "Class of the error that ended the call; absent on success")
REQUEST_STREAM = _span("gen_ai.request.stream", "boolean", "True for a streamed call, otherwise absent")
REQUEST_CHOICE_COUNT = _span("gen_ai.request.choice.count", "int", "Requested choices, if not 1")
REQUEST_MAX_TOKENS = _span("gen_ai.request.max_tokens", "int", "Upper bound of the answer", "{token}")
REQUEST_TEMPERATURE = _span("gen_ai.request.temperature", "double", "Sampling temperature")
REQUEST_TOP_P = _span("gen_ai.request.top_p", "double", "Nucleus sampling bound")
REQUEST_TOP_K = _span("gen_ai.request.top_k", "int", "Sampling from the k likeliest tokens")
REQUEST_SEED = _span("gen_ai.request.seed", "int", "Seed of the sampling")
REQUEST_FREQUENCY_PENALTY = _span("gen_ai.request.frequency_penalty", "double", "Frequency penalty")
REQUEST_PRESENCE_PENALTY = _span("gen_ai.request.presence_penalty", "double", "Presence penalty")
REQUEST_STOP_SEQUENCES = _span("gen_ai.request.stop_sequences", "string[]", "Stop sequences")
REQUEST_REASONING_LEVEL = _span("gen_ai.request.reasoning.level", "string", "Requested reasoning effort")
REQUEST_PREVIOUS_RESPONSE_ID = _span(
    "gen_ai.request.previous_response.id", "string", "The earlier response that the request continues"
)
PROMPT_NAME = _span("gen_ai.prompt.name", "string", "Name or id of the stored prompt that the request uses")
PROMPT_VERSION = _span("gen_ai.prompt.version", "string", "Version of the stored prompt, where the request names one")
CONVERSATION_COMPACTED = _span(
    "gen_ai.conversation.compacted", "boolean", "True when the request carries a compacted form of earlier turns"
)
OUTPUT_TYPE = _span("gen_ai.output.type", "string", "text, json, image or speech, where the request names one")
RESPONSE_ID = _span("gen_ai.response.id", "string", "The answer's id, the provider's or one of the library's own")
RESPONSE_MODEL = _span("gen_ai.response.model", "string", "The model that answered, as the provider says")
FINISH_REASONS = _span(
    "gen_ai.response.finish_reasons",
    "string[]",
    "Why each choice ended; error where the stream was cut before a reason came",
)
TIME_TO_FIRST_CHUNK = _span("gen_ai.response.time_to_first_chunk", "double", "Call to the first chunk of any kind", "s")
USAGE_INPUT_TOKENS = _span("gen_ai.usage.input_tokens", "int", "Prompt tokens, cached ones included", "{token}")
USAGE_OUTPUT_TOKENS = _span("gen_ai.usage.output_tokens", "int", "Answer tokens, reasoning included", "{token}")
USAGE_CACHE_READ = _span(
    "gen_ai.usage.cache_read.input_tokens", "int", "Prompt tokens read from the provider's cache", "{token}"
)
USAGE_CACHE_WRITE = _span(
    "gen_ai.usage.cache_write.input_tokens", "int", "Prompt tokens written to the provider's cache", "{token}"
)
USAGE_REASONING = _span("gen_ai.usage.reasoning.output_tokens", "int", "Answer tokens spent on reasoning", "{token}")
# Counts of one modality, where the provider reports it.
MODALITIES = ("text", "image", "audio")
USAGE_INPUT_BY_MODALITY = {
    each: _span(f"gen_ai.usage.{each}.input_tokens", "int", f"Prompt tokens that are {each}", "{token}")
    for each in MODALITIES
}
USAGE_CACHE_READ_BY_MODALITY = {
    each: _span(
        f"gen_ai.usage.{each}.cache_read.input_tokens",
        "int",
        f"Prompt tokens that are {each}, read from the provider's cache",
        "{token}",
    )
    for each in MODALITIES
}
USAGE_OUTPUT_BY_MODALITY = {
    each: _span(f"gen_ai.usage.{each}.output_tokens", "int", f"Answer tokens that are {each}", "{token}")
    for each in MODALITIES
}
INPUT_MESSAGES = _span("gen_ai.input.messages", "string", "The prompt as JSON; only with content capture on spans")
OUTPUT_MESSAGES = _span("gen_ai.output.messages", "string", "The answer as JSON; only with content capture on spans")
SYSTEM_INSTRUCTIONS = _span(
    "gen_ai.system_instructions",
    "string",
    "Instructions given apart from the messages, as JSON; only with content capture on spans",
)
TOOL_DEFINITIONS = _span(
    "gen_ai.tool.definitions", "string", "The tools offered, as JSON; only with content capture on spans"
)

OUTCOME = _span(
    "tokenstream.outcome",
    "string",
    "completed, failed, cancelled, closed (the caller closed it early) or abandoned (dropped without closing)",
)
CHUNKS = _span("tokenstream.chunks", "int", "Chunks the caller was given", "{chunk}")
TIME_TO_FIRST_TOKEN_MS = _span(
    "tokenstream.time_to_first_token_ms",
    "int",
    "Call to the first generated content: text, reasoning or tool arguments",
    "ms",
)
TIME_TO_FIRST_ANSWER_TOKEN_MS = _span(
    "tokenstream.time_to_first_answer_token_ms", "int", "Call to the first visible text", "ms"
)
GAP_P50_MS = _span("tokenstream.gap.p50_ms", "int", "Median gap, arrival to arrival", "ms")
GAP_P95_MS = _span("tokenstream.gap.p95_ms", "int", "95th percentile of the gaps", "ms")
GAP_MAX_MS = _span("tokenstream.gap.max_ms", "int", "Longest gap", "ms")
OPENING_MS = _span(
    "tokenstream.opening_ms",
    "int",
    "Time within the call that opens the stream, failed attempts included; with the waits and the consumer's time "
    "it makes up the duration",
    "ms",
)
WAIT_TOTAL_MS = _span("tokenstream.wait.total_ms", "int", "Time the reads were blocked on the provider", "ms")
WAIT_MAX_MS = _span("tokenstream.wait.max_ms", "int", "Longest blocked read after the first token", "ms")
CONSUMER_TOTAL_MS = _span(
    "tokenstream.consumer.total_ms",
    "int",
    "Time the caller held the stream or a chunk, until its next read or the end",
    "ms",
)
STALL_COUNT = _span("tokenstream.stall.count", "int", "Reads blocked for at least the stall threshold", "{stall}")
STALL_TOTAL_MS = _span("tokenstream.stall.total_ms", "int", "Time spent in stalls", "ms")
OUTPUT_RATE = _span(
    "tokenstream.output_rate",
    "double",
    "Reported answer tokens after the first, over the time from first to last",
    "{token}/s",
)
USAGE_SOURCE = _span("tokenstream.usage.source", "string", "provider or estimated")
ATTEMPTS = _span(
    "tokenstream.attempts",
    "int",
    "Attempts the library made, if more than one; retries inside the HTTP client count as one attempt",
    "{attempt}",
)
CACHE_HIT = _span("tokenstream.cache_hit", "boolean", "True when the answer came from the library's cache")
FINISH_REASON_SYNTHETIC = _span(
    "tokenstream.finish_reason.synthetic", "boolean", "True when the library invented the finish reason"
)
COST_USD = _span("tokenstream.cost_usd", "double", "Cost as the library prices it", "USD")
TEAM = _span("tokenstream.litellm.team", "string", "Team of the caller of litellm's proxy, where the setting allows it")
KEY_ALIAS = _span(
    "tokenstream.litellm.key_alias", "string", "Name of the key the proxy was called with, where the setting allows it"
)
END_USER = _span(
    "tokenstream.litellm.end_user", "string", "End user of the call as the proxy knows it, where the setting allows it"
)
EVENT_MERGED = _span(
    "tokenstream.event.merged", "int", "Chunks that share a token event with others, to stay in the budget", "{chunk}"
)
CONVERSATION_ID = _span("gen_ai.conversation.id", "string", "The conversation id given to `correlate`")
USER_ID = _span("user.id", "string", "The user id given to `correlate`")
REQUEST_ID = _span("tokenstream.request_id", "string", "The request id given to `correlate`")
OPERATION = _span("tokenstream.operation", "string", "The program's name for the operation, from `correlate` or `step`")
OFFSETS_US = _span(
    "tokenstream.offsets_us", "int[]", "Arrivals since the call, evenly chosen, where events were merged", "us"
)

_OF_REQUEST = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL, SERVER_ADDRESS, SERVER_PORT)
_OF_CALL = tuple(each.name for each in SPAN_ATTRIBUTES.values() if each.source == CONVENTION)

# --- The module span of DSPy --------------------------------------------------------------

DSPY_MODULE = _span("dspy.module", "string", "Class name of the module")
DSPY_SIGNATURE = _span("dspy.signature", "string", "Input and output fields of a predictor's signature")

AGENT_NAME = _span(
    "gen_ai.agent.name",
    "string",
    "Class name of an agent or of the outermost program; with the new or both names of the convention",
)

# --- The tool and retrieval spans of DSPy ------------------------------------------------

TOOL_NAME = _span("gen_ai.tool.name", "string", "Name of the tool that is run")
TOOL_TYPE = _span("gen_ai.tool.type", "string", "function")
TOOL_CALL_ID = _span("gen_ai.tool.call.id", "string", "The model's id of the call, where it gave one")
TOOL_CALL_ARGUMENTS = _span(
    "gen_ai.tool.call.arguments", "string", "Arguments of the tool, as JSON; only with content capture on spans"
)
TOOL_CALL_RESULT = _span(
    "gen_ai.tool.call.result", "string", "Result of the tool, as text or JSON; only with content capture on spans"
)
RETRIEVAL_TOP_K = _span("gen_ai.retrieval.top_k", "int", "Largest number of passages requested", "{document}")
RETRIEVAL_QUERY = _span("gen_ai.retrieval.query.text", "string", "The query; only with content capture on spans")
RETRIEVAL_DOCUMENTS = _span(
    "gen_ai.retrieval.documents", "string", "The retrieved documents, as JSON; only with content capture on spans"
)

# --- Events -------------------------------------------------------------------------------

AT_OFFSET_US = _on_event("tokenstream.offset_us", "int", "Arrival since the call; of an attempt its start", "us")
AT_GAP_US = _on_event(
    "tokenstream.gap_us",
    "int",
    "Since the one of its kind before: arrival to arrival of chunks, start to start of attempts; the longest one of a "
    "merged event",
    "us",
)
AT_INDEX = _on_event(
    "tokenstream.index", "int", "Position, from 0: of the (first) chunk in the stream, of an attempt among attempts"
)
AT_WAIT_US = _on_event(
    "tokenstream.wait_us", "int", "Time the read was blocked; of a merged event, all its reads together", "us"
)
AT_CHARS = _on_event("tokenstream.chars", "int", "Characters of generated content", "{char}")
AT_COUNT = _on_event("tokenstream.count", "int", "Chunks in this event, if not 1", "{chunk}")
AT_KIND = _on_event(
    "tokenstream.kind",
    "string",
    "reasoning, tool_call, refusal, image, audio, video, tool_result (of a tool that the provider runs), "
    "other (content of a kind that is not known), empty or mixed; absent for text",
)
AT_FIELD = _on_event("tokenstream.field", "string", "Output field of the program the content belongs to")
AT_TOOL_CALL = _on_event(
    "tokenstream.tool_call",
    "int",
    "Which tool call of the stream the content belongs to, from 0, in the order in which they began",
)
AT_TOOL_CALL_ID = _on_event(
    "gen_ai.tool.call.id", "string", "The model's id of that tool call; only in log records with text"
)
AT_TEXT = _on_event("tokenstream.text", "string", "The content itself; only with content capture on events")
AT_NUMBER = _on_event("tokenstream.number", "int", "Number of the attempt, from 1")
AT_MODEL = _on_event("tokenstream.model", "string", "Model of the attempt")
AT_PHASE = _on_event(
    "tokenstream.phase",
    "string",
    "first_token or tokens: the content that a stall waits for, while it lasts; absent when it is over",
)
AT_DURATION_US = _on_event(
    "tokenstream.duration_us",
    "int",
    "Start of the attempt until it gave a stream or a whole answer, or failed, also by a stream that was replaced",
    "us",
)
AT_ERROR_TYPE = _on_event("error.type", "string", "Class of the error that ended the attempt")

_POSITION = (AT_OFFSET_US, AT_GAP_US, AT_INDEX)

TOKEN_EVENT = _event(
    "tokenstream.token",
    (*_POSITION, AT_WAIT_US, AT_CHARS, AT_COUNT, AT_KIND, AT_FIELD, AT_TOOL_CALL, AT_TOOL_CALL_ID, AT_TEXT),
    "One chunk, or neighbouring chunks merged to stay within the budget",
)
START_EVENT = _event("tokenstream.start", _POSITION, "The call was made; only as a log record")
OPENED_EVENT = _event("tokenstream.opened", _POSITION, "The caller was given its stream; only as a log record")
FIRST_READ_EVENT = _event(
    "tokenstream.first_read", _POSITION, "A first read that has been blocked since; only as a log record"
)
FIRST_TOKEN_EVENT = _event("tokenstream.first_token", _POSITION, "First generated content of any kind")
FIRST_ANSWER_TOKEN_EVENT = _event("tokenstream.first_answer_token", _POSITION, "First visible text")
STALL_EVENT = _event(
    "tokenstream.stall",
    (*_POSITION, AT_WAIT_US, AT_PHASE),
    "A read blocked for at least the stall threshold; the longest ones of a stream are kept. The log has "
    "a record with the wait so far and a phase while the read is blocked, and one with the whole wait when it returns",
)
ATTEMPT_EVENT = _event(
    "tokenstream.attempt",
    (*_POSITION, AT_NUMBER, AT_MODEL, AT_DURATION_US, AT_ERROR_TYPE),
    "One request among several it took to answer the call; its time is its start",
)

DETAILS_RECORD = _record(
    "gen_ai.client.inference.operation.details",
    (*_OF_CALL, OUTCOME),
    "One call, streamed or not, with its prompt and answer, when it has ended; only with content capture on events",
)

EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_RECORD = _record(
    "gen_ai.client.inference.exception",
    (EXCEPTION_TYPE, EXCEPTION_MESSAGE, *_OF_REQUEST),
    "The error that ended a call, with the new or both names of the convention; its message only with content "
    "capture on events",
)

# --- Metrics ------------------------------------------------------------------------------

TOKEN_TYPE = "gen_ai.token.type"
TOKEN_MODALITY = "gen_ai.token.modality"
UNKNOWN_MODALITY = "unknown"
FIRST_TOKEN_SEEN = "tokenstream.first_token_seen"
PHASE = AT_PHASE

_CALL = _OF_REQUEST
_MODEL = (OPERATION_NAME, PROVIDER_NAME, REQUEST_MODEL)

_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**power) for power in range(14))
# 2.5 s is a usual objective: an explicit bound makes the share below it exact.
_FIRST_TOKEN = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0)
_GAP = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STALL = (1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
_RATE = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 120.0, 200.0, 400.0, 800.0, 2000.0)

OPERATION_DURATION = _metric(
    "histogram",
    "gen_ai.client.operation.duration",
    "s",
    (*_CALL, RESPONSE_MODEL, ERROR_TYPE),
    "Call to the end of the answer",
    _DURATION,
)
OPERATION_TIME_TO_FIRST_CHUNK = _metric(
    "histogram",
    "gen_ai.client.operation.time_to_first_chunk",
    "s",
    _CALL,
    "Call to the first chunk of any kind",
    _FIRST_TOKEN,
)
OPERATION_TIME_PER_OUTPUT_CHUNK = _metric(
    "histogram",
    "gen_ai.client.operation.time_per_output_chunk",
    "s",
    _CALL,
    "Gap between neighbouring chunks, one record a gap",
    _GAP,
)
TOKEN_USAGE = _metric(
    "histogram",
    "gen_ai.client.token.usage",
    "{token}",
    (*_CALL, RESPONSE_MODEL, TOKEN_TYPE),
    "Tokens of a call by type: input or output",
    _TOKENS,
)
INFERENCE_DURATION = _metric(
    "histogram",
    "gen_ai.client.inference.duration",
    "s",
    (*_CALL, RESPONSE_MODEL, ERROR_TYPE),
    "Successor of gen_ai.client.operation.duration",
    _DURATION,
)
INFERENCE_TIME_TO_FIRST_CHUNK = _metric(
    "histogram",
    "gen_ai.client.inference.time_to_first_chunk",
    "s",
    _CALL,
    "Successor of gen_ai.client.operation.time_to_first_chunk",
    _FIRST_TOKEN,
)
INFERENCE_TIME_PER_OUTPUT_CHUNK = _metric(
    "histogram",
    "gen_ai.client.inference.time_per_output_chunk",
    "s",
    _CALL,
    "Successor of gen_ai.client.operation.time_per_output_chunk",
    _GAP,
)
INFERENCE_INPUT_TOKENS = _metric(
    "histogram",
    "gen_ai.client.inference.operation.input_tokens",
    "{token}",
    (*_CALL, RESPONSE_MODEL),
    "Successor of gen_ai.client.token.usage for input",
    _TOKENS,
)
INFERENCE_OUTPUT_TOKENS = _metric(
    "histogram",
    "gen_ai.client.inference.operation.output_tokens",
    "{token}",
    (*_CALL, RESPONSE_MODEL),
    "Successor of gen_ai.client.token.usage for output",
    _TOKENS,
)

_USAGE = (*_CALL, RESPONSE_MODEL, TOKEN_MODALITY)
INFERENCE_USAGE_INPUT = _metric(
    "counter",
    "gen_ai.client.inference.usage.input_tokens",
    "{token}",
    _USAGE,
    "Prompt tokens by modality, cached ones included; 0 is added for a call without reported usage",
)
INFERENCE_USAGE_OUTPUT = _metric(
    "counter",
    "gen_ai.client.inference.usage.output_tokens",
    "{token}",
    _USAGE,
    "Answer tokens by modality, reasoning included; 0 is added for a call without reported usage",
)
INFERENCE_USAGE_CACHE_READ = _metric(
    "counter",
    "gen_ai.client.inference.usage.cache_read.input_tokens",
    "{token}",
    _USAGE,
    "Prompt tokens read from the provider's cache, by modality",
)
INFERENCE_USAGE_CACHE_WRITE = _metric(
    "counter",
    "gen_ai.client.inference.usage.cache_write.input_tokens",
    "{token}",
    _USAGE,
    "Prompt tokens written to the provider's cache",
)
INFERENCE_USAGE_REASONING = _metric(
    "counter",
    "gen_ai.client.inference.usage.reasoning.output_tokens",
    "{token}",
    _USAGE,
    "Answer tokens spent on reasoning",
)

INVOKE_AGENT_DURATION = _metric(
    "histogram",
    "gen_ai.invoke_agent.duration",
    "s",
    (OPERATION_NAME, AGENT_NAME, ERROR_TYPE),
    "Start to end of one invocation of an agent",
    tuple(0.1 * 2**power for power in range(13)),
)
INVOKE_AGENT_INFERENCE_CALLS = _metric(
    "histogram",
    "gen_ai.invoke_agent.inference_calls",
    "{inference_call}",
    (OPERATION_NAME, AGENT_NAME),
    "Model calls of one invocation, those of agents that it calls left out",
    tuple(float(2**power) for power in range(8)),
)
INVOKE_AGENT_TOOL_CALLS = _metric(
    "histogram",
    "gen_ai.invoke_agent.tool_calls",
    "{tool_call}",
    (OPERATION_NAME, AGENT_NAME),
    "Tools run by one invocation, those of agents that it calls left out",
    tuple(float(2**power) for power in range(8)),
)

TIME_TO_FIRST_TOKEN = _metric(
    "histogram",
    "tokenstream.time_to_first_token",
    "s",
    _MODEL,
    "Call to the first generated content",
    _FIRST_TOKEN,
)
TIME_TO_FIRST_ANSWER_TOKEN = _metric(
    "histogram",
    "tokenstream.time_to_first_answer_token",
    "s",
    _MODEL,
    "Call to the first visible text",
    _FIRST_TOKEN,
)
TIME_PER_OUTPUT_TOKEN = _metric(
    "histogram",
    "tokenstream.time_per_output_token",
    "s",
    _MODEL,
    "First to last token over the reported tokens after the first",
    _GAP,
)
OUTPUT_RATE_METRIC = _metric(
    "histogram", "tokenstream.output_rate", "{token}/s", _MODEL, "Reported tokens a second while tokens came", _RATE
)
WAIT_MAX = _metric(
    "histogram", "tokenstream.wait.max", "s", _MODEL, "Longest blocked read of a stream after its first token", _GAP
)
GAP_MAX = _metric(
    "histogram",
    "tokenstream.gap.max",
    "s",
    _MODEL,
    "Longest gap of a stream; a slow consumer makes gaps too, so alert on waits",
    _GAP,
)
STALL_DURATION = _metric(
    "histogram",
    "tokenstream.stall.duration",
    "s",
    _MODEL,
    "Length of each stall, of at most 256 a stream",
    _STALL,
)
FIELD_TIME_TO_FIRST_TOKEN = _metric(
    "histogram",
    "tokenstream.field.time_to_first_token",
    "s",
    (*_MODEL, AT_FIELD),
    "Call to the first content of an output field",
    _FIRST_TOKEN,
)
STREAMS = _metric(
    "counter", "tokenstream.streams", "{stream}", (*_MODEL, OUTCOME, FIRST_TOKEN_SEEN), "Streams that ended, by outcome"
)
TOKENS = _metric(
    "counter",
    "tokenstream.tokens",
    "{token}",
    (*_MODEL, TOKEN_TYPE),
    "Reported tokens by type: input, output, and parts of them: cached_input, reasoning, audio_input, audio_output",
)
COST = _metric("counter", "tokenstream.cost", "USD", _MODEL, "Cost as the library prices it")
STREAM_ACTIVE = _metric("gauge", "tokenstream.stream.active", "{stream}", _MODEL, "Streams open now")
STREAM_STALLED = _metric(
    "gauge",
    "tokenstream.stream.stalled",
    "{stream}",
    (*_MODEL, PHASE),
    "Streams whose pending read is silent right now for longer than its threshold",
)
EVENTS_MERGED = _metric(
    "counter", "tokenstream.event.merged", "{chunk}", (), "Chunks merged into shared events to stay in the budget"
)
LIVE_SINK = "tokenstream.live.sink"
LIVE_DROPPED = _metric(
    "counter",
    "tokenstream.live.dropped",
    "{event}",
    (LIVE_SINK,),
    "Live events that a sink was too slow for, or had to give up",
)
# The metrics that the setting ``metric_names`` chooses between.
OLD_NAMES = frozenset((OPERATION_DURATION, OPERATION_TIME_TO_FIRST_CHUNK, OPERATION_TIME_PER_OUTPUT_CHUNK, TOKEN_USAGE))
NEW_NAMES = frozenset(name for name in METRICS if name.startswith(("gen_ai.client.inference.", "gen_ai.invoke_agent.")))
FAULTS = _metric("counter", "tokenstream.faults", "{fault}", (ERROR_TYPE,), "Faults of this package it kept to itself")
LIBRARY = "tokenstream.library"
ENTRY = "tokenstream.entry"
SEAMS_MISSING = _metric(
    "counter",
    "tokenstream.seams.missing",
    "{entry}",
    (LIBRARY, ENTRY),
    "Entries of an instrumented library whose calls are not seen, because its version has none of the places we know",
)
