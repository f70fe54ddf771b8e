from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import Redactor, TokenCollector, signals
from otel_tokenstream.patches.litellm.apis import raw_apis
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import QUESTION, drained, only, pieces, read
from tests.patches.replay import OPENING, calling, chunk, replay

if TYPE_CHECKING:
    from otel_tokenstream.testing import Capture, Generation

both_ways = pytest.mark.parametrize("name", ["completion", "acompletion"])
END = chunk({}, "tool_calls")
IDS = ("call_a", "call_b")
TWO = [
    {"type": "tool_call", "id": "call_a", "name": "read", "arguments": {"p": "a"}},
    {"type": "tool_call", "id": "call_b", "name": "write", "arguments": {"p": "b"}},
]


async def asked(name: str, *events: Any, **more: Any) -> list[Any]:
    with replay(*events, gap=0.005) as server:
        where = {"api_base": server.url, "api_key": "none"}
        return await drained(getattr(litellm, name), model="openai/m", messages=QUESTION, stream=True, **where, **more)


def messages(generation: Generation) -> list[Any]:
    return json.loads(generation.attributes[signals.OUTPUT_MESSAGES])  # type: ignore[no-any-return]


def told(live: TokenCollector) -> list[tuple[int | None, str | None, str]]:
    """Number, id and text of each live token that has text."""
    return [(token.tool_call, token.tool_call_id, token.text) for token in live.tokens if token.text]


def logged(captured: Capture) -> dict[Any, str]:
    """The text of each tool call in log records, by its id."""
    found: dict[Any, str] = {}
    for record in captured.logs:
        call_id, text = record.attributes.get(signals.AT_TOOL_CALL_ID), record.attributes.get(signals.AT_TEXT)
        if text:
            found[call_id] = found.get(call_id, "") + str(text)
    return found


@both_ways
async def test_two_calls_at_one_position_are_two(name: str) -> None:
    """Gemini's gateways give every call position 0: the id tells that another one begins."""
    first = calling('{"p":"a"}', call_id="call_a", name="read")
    second = calling('{"p":"b"}', call_id="call_b", name="write")
    with capture(capture_content="SPAN_AND_EVENT") as captured, TokenCollector() as live:
        await asked(name, OPENING, first, second, END)

    (message,) = messages(only(captured))
    assert message == {"role": "assistant", "parts": TWO, "finish_reason": "tool_call"}
    assert pieces(only(captured)) == [("tool_call", 9), ("tool_call", 9)]
    assert told(live) == [(0, "call_a", '{"p":"a"}'), (1, "call_b", '{"p":"b"}')]


@both_ways
async def test_calls_by_turns_at_one_position_are_not_mixed(name: str) -> None:
    """Everywhere each call has its own arguments, also those that come after another call began."""
    streamed = [
        calling('{"p":', call_id="call_a", name="read"),
        calling('{"p":', call_id="call_b", name="write"),
        calling('"a"}', call_id="call_a"),
        calling('"b"}', call_id="call_b"),
    ]
    with capture(capture_content="SPAN_AND_EVENT", events="both") as captured, TokenCollector() as live:
        await asked(name, OPENING, *streamed, END)

    assert messages(only(captured))[0]["parts"] == TWO
    by_turns = [(0, '{"p":'), (1, '{"p":'), (0, '"a"}'), (1, '"b"}')]
    assert [
        (event.attributes[signals.AT_TOOL_CALL], event.attributes[signals.AT_TEXT])
        for event in only(captured).tokens[1:5]
    ] == by_turns
    assert told(live) == [(number, IDS[number], text) for number, text in by_turns]
    assert logged(captured) == {"call_a": '{"p":"a"}', "call_b": '{"p":"b"}'}


@both_ways
async def test_calls_that_come_in_one_chunk_are_told_apart(name: str) -> None:
    """One delta may bring pieces of several calls: one chunk, and an event for each call."""
    first = calling('{"p":', call_id="call_a", name="read")
    second = calling('{"p":"b"}', call_id="call_b", name="write")
    rest = calling('"a"}', call_id="call_a")
    deltas = [each["choices"][0]["delta"]["tool_calls"][0] for each in (first, second, rest)]
    deltas[1]["index"] = 1
    with capture(capture_content="SPAN_AND_EVENT") as captured, TokenCollector() as live:
        await asked(name, OPENING, chunk({"tool_calls": deltas}), END)

    assert messages(only(captured))[0]["parts"] == TWO
    assert told(live) == [(0, "call_a", '{"p":'), (1, "call_b", '{"p":"b"}'), (0, "call_a", '"a"}')]
    assert len({token.chunk for token in live.tokens if token.kind == "tool_call"}) == 1
    assert [event.attributes.get(signals.AT_COUNT, 1) for event in only(captured).tokens][1:4] == [1, 0, 0]


@pytest.mark.parametrize("hook", [str.upper, Redactor(str.upper, longest=8)])
async def test_a_redaction_sees_each_call_by_itself(hook: Any) -> None:
    """Two calls that follow one another are two texts, never one."""
    seen: list[str] = []

    def capture_opening_usage(text: str) -> str:
        seen.append(text)
        return hook(text)  # type: ignore[no-any-return]

    first = calling('{"p":"a"}', call_id="call_a", name="read")
    second = calling('{"p":"b"}', call_id="call_b", name="write")
    with (
        capture(capture_content="EVENT_ONLY", events="both", redact=capture_opening_usage) as captured,
        TokenCollector() as live,
    ):
        await asked("acompletion", OPENING, first, second, END)

    assert not [text for text in seen if '"a"' in text and '"b"' in text]
    assert {call_id: text for _, call_id, text in told(live)} == {"CALL_A": '{"P":"A"}', "CALL_B": '{"P":"B"}'}
    assert logged(captured) == {"CALL_A": '{"P":"A"}', "CALL_B": '{"P":"B"}'}


@both_ways
async def test_a_secret_split_between_calls_at_one_position_is_redacted(name: str) -> None:
    """Half of it stands in one call's arguments before the other call begins, and half after."""
    streamed = [
        calling('{"p":"4111 1111', call_id="call_a", name="read"),
        calling('{"p":"b"}', call_id="call_b", name="write"),
        calling(' 1111 1111"}', call_id="call_a"),
    ]

    def hook(text: str) -> str:
        return re.sub(r"\d{4}( \d{4}){3}", "[card]", text)

    with (
        capture(capture_content="SPAN_AND_EVENT", events="both", redact=hook) as captured,
        TokenCollector() as live,
    ):
        await asked(name, OPENING, *streamed, END)

    assert [part["arguments"] for part in messages(only(captured))[0]["parts"]] == [{"p": "[card]"}, {"p": "b"}]
    whole = {"call_a": '{"p":"[card]"}', "call_b": '{"p":"b"}'}
    assert logged(captured) == whole
    assert {call_id: text for _, call_id, text in told(live)} == whole
    on_span = [event.attributes for event in only(captured).tokens if signals.AT_TEXT in event.attributes]
    assert {IDS[each[signals.AT_TOOL_CALL]]: each[signals.AT_TEXT] for each in on_span} == whole


async def test_each_choice_has_calls_of_its_own() -> None:
    """Two choices use one position and one id each for themselves."""
    streamed = [
        calling('{"p":"a"}', call_id="call_a", name="read"),
        calling('{"p":"a"}', call_id="call_a", name="read", index=1),
        calling('{"p":"b"}', call_id="call_b", name="write", index=1),
        calling('{"p":"b"}', call_id="call_b", name="write"),
    ]
    with capture(capture_content="SPAN_ONLY") as captured:
        await asked("acompletion", OPENING, *streamed, END, chunk({}, "tool_calls", 1), n=2)

    assert [message["parts"] for message in messages(only(captured))] == [TWO, TWO]


@both_ways
async def test_a_custom_tools_input_is_its_arguments(name: str) -> None:
    """Calls of custom tools have their text under other names than those of functions."""

    def custom(**payload: str) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": 0, "id": "call_c", "type": "custom", "custom": payload}]})

    with capture(capture_content="SPAN_ONLY") as captured:
        await asked(name, OPENING, custom(name="patch", input="*** "), custom(input="Begin"), END)

    call = {"type": "tool_call", "id": "call_c", "name": "patch", "arguments": "*** Begin"}
    assert messages(only(captured))[0]["parts"] == [call]
    assert pieces(only(captured)) == [("tool_call", 4), ("tool_call", 5)]


def test_two_calls_of_a_relayed_stream_are_two() -> None:
    """The same on the wire, where the proxy server hands a provider's bytes on."""
    entry = raw_apis.endpoint_for("/v1/chat/completions")
    assert entry is not None
    events = [
        calling('{"p":"a"}', call_id="call_a", name="read"),
        calling('{"p":"b"}', call_id="call_b", name="write"),
        END,
    ]
    generation = read(entry, [f"data: {json.dumps(event)}\n\n".encode() for event in events])

    assert messages(generation)[0]["parts"] == TWO
