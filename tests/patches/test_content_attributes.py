from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import litellm
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from otel_tokenstream.core.call.model_call import COMPLETED
from otel_tokenstream.core.call.request import Request
from otel_tokenstream.core.content.redaction import FAILED, Redactor
from otel_tokenstream.core.emit.telemetry import Telemetry
from otel_tokenstream.demo.provider import ROLE, Script, reasoning, tool_call
from otel_tokenstream.settings import Settings
from otel_tokenstream.testing import Capture, capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

INPUT, OUTPUT = "gen_ai.input.messages", "gen_ai.output.messages"
TEXT = "tokenstream.text"
ANSWER = [reasoning("I think "), reasoning("so."), "Hello ", "there."]
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello."}]


def ask(provider: ScriptedProvider, pieces: Any = ANSWER, messages: Any = QUESTION, **options: Any) -> Any:
    options = {"gap": 0.001, "n": None, **options}
    provider.scripts["answer"] = Script(pieces=pieces, gap=options.pop("gap"), ending=options.pop("ending", "natural"))
    streamed = options.pop("stream", True)
    answer = litellm.completion(
        "openai/answer", messages, api_base=provider.base_url, api_key="none", stream=streamed, num_retries=0, **options
    )
    return list(answer) if streamed else answer


def said(captured: Capture, name: str = OUTPUT) -> list[dict[str, Any]]:
    (generation,) = captured.generations
    return json.loads(generation.attributes[name])


def texts(captured: Capture) -> list[str]:
    return [event.attributes[TEXT] for event in captured.generations[0].tokens if TEXT in event.attributes]


def logged(captured: Capture) -> str:
    return "".join(event.attributes.get(TEXT, "") for event in captured.logs)


@pytest.mark.parametrize(
    ("mode", "on_spans", "on_events"),
    [
        ("NO_CONTENT", False, False),
        ("SPAN_ONLY", True, False),
        ("EVENT_ONLY", False, True),
        ("SPAN_AND_EVENT", True, True),
    ],
)
def test_mode_says_where_content_goes(provider: ScriptedProvider, mode: str, on_spans: bool, on_events: bool) -> None:
    """As JSON on the span, as text on token events and live log records, or nowhere."""
    with capture(capture_content=mode, events="both") as captured:
        ask(provider)
    (generation,) = captured.generations
    assert (INPUT in generation.attributes, OUTPUT in generation.attributes) == (on_spans, on_spans)
    assert generation.text == ("I think so.Hello there." if on_events else "")
    assert logged(captured) == ("I think so.Hello there." if on_events else "")


@pytest.mark.parametrize("stream", [True, False])
def test_span_has_prompt_and_answer(provider: ScriptedProvider, stream: bool) -> None:
    """In the structure of the conventions, the same for a streamed and a plain answer."""
    calls = [tool_call("", name="get", call_id="c1"), tool_call('{"ci'), tool_call('ty": "Bergen"}')]
    with capture(capture_content="SPAN_ONLY") as captured:
        ask(provider, [*ANSWER, *calls, tool_call("{}", name="put", call_id="c2", index=1)], stream=stream)
    assert said(captured) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "I think so."},
                {"type": "text", "content": "Hello there."},
                {"type": "tool_call", "id": "c1", "name": "get", "arguments": {"city": "Bergen"}},
                {"type": "tool_call", "id": "c2", "name": "put", "arguments": {}},
            ],
            "finish_reason": "tool_call",
        }
    ]
    assert said(captured, INPUT) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "Say hello."}]},
    ]


def test_each_choice_is_a_message_and_events_have_the_first(provider: ScriptedProvider) -> None:
    """Texts of several choices come by turns: on events they would be mixed up."""
    with capture(capture_content="SPAN_AND_EVENT") as captured:
        ask(provider, ["one ", "two"], n=2)
    assert [message["parts"] for message in said(captured)] == [[{"type": "text", "content": "one two"}]] * 2
    assert "".join(texts(captured)) == "one two"


def test_the_text_of_a_broken_stream_is_kept(provider: ScriptedProvider) -> None:
    """The answer up to the break, with error as its finish reason."""
    with capture(capture_content="SPAN_ONLY") as captured, pytest.raises(litellm.exceptions.MidStreamFallbackError):
        ask(provider, [ROLE, "Hello ", "there"], ending="error_frame")
    assert said(captured) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hello there"}], "finish_reason": "error"}
    ]


def test_prompt_is_the_one_that_was_sent(provider: ScriptedProvider) -> None:
    """A program that goes on with the same list, while the stream is open, changes nothing."""
    conversation = [{"role": "user", "content": "first"}]
    provider.scripts["answer"] = Script(pieces=["one", "two"], gap=0.001)
    with capture(capture_content="SPAN_ONLY") as captured:
        options = {"api_base": provider.base_url, "api_key": "none", "stream": True}
        for _ in litellm.completion("openai/answer", conversation, **options):
            conversation += [{"role": "user", "content": "next"}]
    assert [message["parts"][0]["content"] for message in said(captured, INPUT)] == ["first"]


async def test_streams_at_once_do_not_mix(provider: ScriptedProvider) -> None:
    """Each span has its own prompt and answer."""

    def compose(request: Any) -> list[str]:
        return [*f"answer to {request['messages'][0]['content']}"]

    provider.scripts["answer"] = Script(pieces=compose, gap=0.001)
    options = {"api_base": provider.base_url, "api_key": "none", "stream": True}

    async def one(number: int) -> None:
        messages = [{"role": "user", "content": f"question {number}"}]
        async for _ in await litellm.acompletion("openai/answer", messages, **options):
            pass

    with capture(capture_content="SPAN_ONLY") as captured:
        await asyncio.gather(*(one(number) for number in range(10)))
    for generation in captured.generations:
        question = json.loads(generation.attributes[INPUT])[0]["parts"][0]["content"]
        assert json.loads(generation.attributes[OUTPUT])[0]["parts"][0]["content"] == f"answer to {question}"


# --- Limits ---------------------------------------------------------------------------------


def sizes(captured: Capture) -> tuple[list[int], int]:
    """Bytes of the attributes with content, and of all text on events."""
    (generation,) = captured.generations
    attributes = [
        len(generation.attributes[name].encode()) for name in (INPUT, OUTPUT) if name in generation.attributes
    ]
    return attributes, sum(len(text.encode()) for text in texts(captured))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("limit", [200, 1_000, 4_000])
@pytest.mark.parametrize("letter", ["x", "é", "😀", "\n", '"'])
def test_content_stays_within_its_limits(provider: ScriptedProvider, letter: str, limit: int, stream: bool) -> None:
    """In bytes, by value and by span; what is cut is still JSON and says how much is missing."""
    long = letter * 3_000
    messages = [{"role": "user", "content": f"{number} {long}"} for number in range(4)]
    with capture(capture_content="SPAN_AND_EVENT", content_value_limit=limit, content_limit=3 * limit) as captured:
        ask(provider, [long, long[1:], long[2:]], messages, stream=stream, gap=0)
    attributes, on_events = sizes(captured)
    assert max(attributes) <= limit
    assert sum(attributes) <= 3 * limit // 2
    assert on_events <= 3 * limit // 2 + 40 + 40  # the marks
    (answer,) = said(captured)
    kept, mark = answer["parts"][0]["content"].split("…[")
    assert len((letter * 8_997).encode()) - len(kept.encode()) == int(mark.split()[0])
    assert len(json.dumps(answer, ensure_ascii=False).encode()) > limit // 3
    if stream:
        assert texts(captured)[-1].endswith(" bytes left out]")


def test_the_newest_messages_are_kept(provider: ScriptedProvider) -> None:
    """A long conversation loses its beginning, and the span says how many messages."""
    messages = [{"role": "user", "content": f"message {number}"} for number in range(1_000)]
    with capture(capture_content="SPAN_ONLY", content_value_limit=1_000) as captured:
        ask(provider, messages=messages)
    omitted, *kept = said(captured, INPUT)
    assert kept[-1]["parts"][0]["content"] == "message 999"
    assert len(kept) > 10
    assert omitted == {
        "role": "omitted",
        "parts": [{"type": "omitted", "content": f"[{1_000 - len(kept)} messages left out]"}],
    }


def test_the_sdk_does_not_cut_the_json(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own limit of attributes, which cuts anywhere, is respected beforehand."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "150")
    with capture(capture_content="SPAN_ONLY") as captured:
        ask(provider, [f"word {number} " for number in range(200)])
    assert said(captured)[0]["parts"][0]["content"].endswith("bytes left out]")
    assert said(captured, INPUT)


def test_128_full_spans_fit_into_a_message(provider: ScriptedProvider) -> None:
    """With the batch size the documentation gives, a gRPC receiver at its default takes every batch."""
    messages = [{"role": "user", "content": "question " * 2_000}] * 3
    with capture(capture_content="SPAN_AND_EVENT") as captured:
        ask(provider, [f"the next word is {number} " for number in range(400)], messages, gap=0)
    (span,) = [generation.span for generation in captured.generations]
    assert len(texts(captured)) > 20
    message = encode_spans([span] * 128).SerializeToString()
    assert 2 * 1024**2 < len(message) < 4 * 1024**2


def test_a_hook_that_is_not_to_be_imported_lets_nothing_through(provider: ScriptedProvider) -> None:
    """Named in the environment it is looked up only at its first use."""
    with capture(capture_content="SPAN_AND_EVENT", redact="nowhere.to_be:found") as captured:
        ask(provider)
    (generation,) = captured.generations
    assert generation.outcome == "completed"
    assert generation.attributes[INPUT].count(FAILED) == 2
    assert "hello" not in everything(captured).lower()


def test_no_text_with_a_limit_of_0(provider: ScriptedProvider) -> None:
    """Lengths are still there."""
    with capture(capture_content="SPAN_AND_EVENT", content_limit=0, events="both") as captured:
        ask(provider)
    (generation,) = captured.generations
    assert not {INPUT, OUTPUT} & set(generation.attributes)
    assert texts(captured) == []
    assert logged(captured) == ""
    assert sum(event.attributes["tokenstream.chars"] for event in generation.tokens) == 23


def test_halves_of_characters_and_nul_arrive_repaired(provider: ScriptedProvider) -> None:
    """What OTLP cannot encode would cost the attribute."""
    messages = [{"role": "user", "content": "lone \ud800 and \0"}]
    with capture(capture_content="SPAN_AND_EVENT") as captured, pytest.raises(Exception, match="not allowed"):
        ask(provider, messages=messages)
    assert said(captured, INPUT)[0]["parts"][0]["content"] == "lone \ufffd and \ufffd"


def test_names_that_cannot_be_encoded_do_not_cost_the_batch() -> None:
    """The model's name is in the span's, where it would; in attributes it would cost these."""
    bad, good = "a\ud800", "a\ufffd"
    with capture() as captured:
        call = Telemetry(Settings(), captured.tracer_provider, captured.meter_provider).start(
            Request("chat", "openai", bad, stream=False)
        )
        assert call is not None
        call.response_id, call.response_model, call.finish_reasons = bad, bad, {0: bad}
        call.end(COMPLETED)
        (point,) = captured.metrics["gen_ai.client.operation.duration"]
    (generation,) = captured.generations
    assert generation.name == f"chat {good}"
    assert {generation.attributes[f"gen_ai.response.{name}"] for name in ("id", "model", "finish_reasons")} == {
        good,
        (good,),
    }
    assert {point.attributes[f"gen_ai.{name}.model"] for name in ("request", "response")} == {good}
    encode_spans([generation.span]).SerializeToString()


# --- Redaction ------------------------------------------------------------------------------

EMAIL = re.compile(r"[\w.]+@\w[\w.]*")
SECRET = "alice@example.com"


def mask(text: str) -> str:
    return EMAIL.sub("[email]", text)


@pytest.fixture
def everywhere(provider: ScriptedProvider) -> Callable[..., Capture]:
    """A call with the secret in every place, a character a chunk; gives what was captured."""

    def call(hook: object, **settings: Any) -> Capture:
        said = f"Write to {SECRET} today, {SECRET} is the address and there is no other."
        arguments = json.dumps({"to": SECRET, "cc": [SECRET], SECRET: 1}).replace("@", "\\u0040")
        calls = [tool_call("", name="send", call_id="c1"), *(tool_call(letter) for letter in arguments)]
        messages = [
            {"role": "system", "content": f"You are {SECRET}"},
            {"role": "user", "content": [{"type": "text", "text": f"I am {SECRET}"}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c0", "type": "function", "function": {"name": "get", "arguments": arguments}}],
            },
            {"role": "tool", "tool_call_id": "c0", "content": f'{{"from": "{SECRET}"}}'},
        ]
        with capture(capture_content="SPAN_AND_EVENT", redact=hook, events="both", **settings) as captured:
            ask(provider, [*(reasoning(letter) for letter in said), *said, *calls], messages)
        return captured

    return call


def everything(captured: Capture) -> str:
    """All text of all signals, each event's and record's apart, and put together."""
    spans = [str(value) for span in captured.spans for value in span.attributes.values()]
    events = [str(event.attributes.get(TEXT, "")) for generation in captured.generations for event in generation.events]
    logs = [str(event.attributes.get(TEXT, "")) for event in captured.logs]
    values = [str(value) for record in captured.logs for value in record.attributes.values()]
    return "\n".join([*spans, *events, *values, "".join(events), "".join(logs)])


@pytest.mark.parametrize("hook", [mask, Redactor(mask), Redactor(mask, longest=20)])
@pytest.mark.parametrize("content_limit", [16_384, 700, 100])
def test_a_secret_split_over_chunks_leaves_in_no_signal(everywhere: Any, hook: object, content_limit: int) -> None:
    """Neither whole nor in parts, wherever a limit cuts."""
    captured = everywhere(hook, content_limit=content_limit)
    found = everything(captured)
    assert "[email]" in found
    for part in ("alice", "lice@", "@", "xample", "ple.com", "\\u0040"):
        assert part not in found


def test_a_declared_longest_match_lets_log_records_have_text_early(everywhere: Any) -> None:
    """With a plain function all text of a run comes in a record of its own, after the run."""
    early = [
        event for event in everywhere(Redactor(mask, longest=20)).logs if event.attributes.get("tokenstream.count") != 0
    ]
    assert any(TEXT in event.attributes for event in early)
    late = everywhere(mask).logs
    assert all(event.attributes["tokenstream.count"] == 0 for event in late if TEXT in event.attributes)


def test_the_redacted_text_of_a_run_is_on_its_last_event(provider: ScriptedProvider) -> None:
    """Which is where the text, on spans, is known not to be part of a match."""
    with capture(capture_content="EVENT_ONLY", redact=mask) as captured:
        ask(provider, [*(reasoning(letter) for letter in "I am b@c.de"), *"and you f@g.hi"])
    assert texts(captured) == ["I am [email]", "and you [email]"]


def test_a_text_too_long_for_the_hook_costs_no_other_text(provider: ScriptedProvider) -> None:
    """Of the answer nothing may leave, as its end is not known; the reasoning before it is known whole."""
    with capture(capture_content="EVENT_ONLY", redact=mask, content_limit=400) as captured:
        ask(provider, [*map(reasoning, "I am b@c.de"), *(f"no address in {line}\n" for line in range(200))])
    thought, rest = texts(captured)
    assert thought == "I am [email]"
    assert re.fullmatch(r"…\[\d+ bytes left out\]", rest)


@pytest.mark.parametrize("hook", [mask, Redactor(mask, longest=32)])
def test_an_address_in_a_tool_call_is_found_although_another_call_comes_between(
    provider: ScriptedProvider, hook: Any
) -> None:
    """Each call is a text of its own, whose pieces need not follow one another."""
    pieces = [
        tool_call('{"to": "ann.b', name="send", call_id="call_1"),
        tool_call('{"in": "Rome"}', name="look", call_id="call_2", index=1),
        tool_call('ell@example.org"}'),
    ]
    with capture(capture_content="EVENT_ONLY", redact=hook) as captured:
        ask(provider, pieces)

    # What was withheld comes with the last event of its call.
    assert texts(captured) == ['{"in": "Rome"}', '{"to": "[email]"}']


def test_a_message_may_name_its_author(provider: ScriptedProvider) -> None:
    """A name is a text like any other."""
    with capture(capture_content="SPAN_ONLY", redact=mask) as captured:
        ask(provider, messages=[{"role": "user", "name": "f@g.hi", "content": "Say hello."}])
    assert [message["name"] for message in said(captured, INPUT)] == ["[email]"]


def test_a_hook_that_raises_costs_the_text_and_nothing_else(everywhere: Any) -> None:
    """Spans, events and their numbers are there, and no raw text."""

    def fail(text: str) -> str:
        raise RuntimeError(text)

    captured = everywhere(fail)
    (generation,) = captured.generations
    assert generation.outcome == "completed"
    assert FAILED in generation.attributes[OUTPUT]
    assert SECRET not in everything(captured)
    assert "Write" not in everything(captured)
    assert captured.metrics["tokenstream.faults"]


def test_numbers_are_shown_to_the_hook(provider: ScriptedProvider) -> None:
    """A card's number may be a number in the arguments of a tool."""
    arguments = '{"card": 4111111111111111, "amount": 12.5, "ok": true, "to": null}'
    with capture(capture_content="SPAN_ONLY", redact=lambda text: re.sub(r"\d{16}", "[card]", text)) as captured:
        ask(provider, [tool_call(arguments, name="pay", call_id="c1")])
    assert said(captured)[0]["parts"][0]["arguments"] == {"card": "[card]", "amount": 12.5, "ok": True, "to": None}


def test_a_hook_sees_names_with_their_values(provider: ScriptedProvider) -> None:
    """What gives a secret away may be the name it stands under."""
    with capture(
        capture_content="SPAN_ONLY", redact=lambda text: re.sub(r'("password":)"[^"]*"', r'\1"***"', text)
    ) as captured:
        ask(provider, [tool_call('{"password": "hunter2"}', name="log_in", call_id="c1")])
    assert said(captured)[0]["parts"][0]["arguments"] == {"password": "***"}
