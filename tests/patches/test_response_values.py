"""Streams of the Responses API whose events say a thing once, late, or less at the end than before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from otel_tokenstream import signals
from otel_tokenstream.patches.litellm.apis import responses
from otel_tokenstream.patches.litellm.transport.json_stream import JsonObject
from otel_tokenstream.testing import capture
from tests.patches.litellm_entries import drained, only, pieces, read, usage
from tests.patches.replay import completed, created, event, message, replay, response

if TYPE_CHECKING:
    from otel_tokenstream.testing import Generation

pytest.importorskip("mcp", reason="litellm's responses import it")
import litellm

both_ways = pytest.mark.parametrize("name", ["responses", "aresponses"])

ARGUMENTS = '{"a":1}'


def call(kind: str = "function_call", at: str = "fc_1", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "id": at, "status": "completed", **fields}


FUNCTION = call(call_id="call_9", name="look", arguments=ARGUMENTS)
PATCH = call("custom_tool_call", "ct_1", call_id="call_1", name="patch", input="*** Begin")
SEARCH = call("mcp_call", "mcp_1", name="search", server_label="s", arguments='{"q":"x"}', output="found")
CODE = call("code_interpreter_call", "ci_1", code="print(1)", container_id="c", outputs=[{"type": "logs", "logs": "1"}])
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Let me see"}]}
REFUSAL = {**message(), "content": [{"type": "refusal", "refusal": "no"}]}


async def asked(name: str, *events: Any) -> Generation:
    with capture(capture_content="SPAN_AND_EVENT") as captured, replay(*events, gap=0.005) as server:
        where = {"api_base": server.url, "api_key": "none"}
        await drained(getattr(litellm, name), model="openai/gpt-4o", input="Tides?", stream=True, **where)
    return only(captured)


def told(*events: Any) -> Generation:
    """What becomes of these events in our reader alone."""
    return read(responses.ENDPOINT, [json.loads(json.dumps(each), object_hook=JsonObject) for each in events])


def parts(generation: Generation) -> list[Any]:
    (said,) = json.loads(generation.attributes[signals.OUTPUT_MESSAGES])
    return said["parts"]  # type: ignore[no-any-return]


def first_token(generation: Generation) -> list[int]:
    """The chunk that brought it."""
    return [
        each.attributes["tokenstream.index"] for each in generation.events if each.name == signals.FIRST_TOKEN_EVENT
    ]


# --- Whole values -------------------------------------------------------------------------


@both_ways
async def test_a_text_that_only_its_last_event_has_is_the_answer(name: str) -> None:
    """First token and first answer token are there, and its characters count once."""
    text = event("output_text.done", output_index=0, content_index=0, item_id="m1", text="Hello", logprobs=[])
    generation = await asked(name, created(), text, completed(message("Hello")))

    assert pieces(generation) == [("text", 5)]
    assert first_token(generation) == [1]
    assert signals.TIME_TO_FIRST_ANSWER_TOKEN_MS in generation.attributes
    assert generation.text == "Hello"


@both_ways
@pytest.mark.parametrize("output", [[], [FUNCTION]], ids=["left out at the end", "repeated at the end"])
async def test_arguments_that_only_their_last_event_has_are_told(name: str, output: list[Any]) -> None:
    """The call is announced before: the first token is the event that has its arguments."""
    added = event("output_item.added", output_index=0, item={**FUNCTION, "arguments": "", "status": "in_progress"})
    done = event("function_call_arguments.done", output_index=0, item_id="fc_1", name="look", arguments=ARGUMENTS)
    whole = event("output_item.done", output_index=0, item=FUNCTION)
    generation = await asked(name, created(), added, done, whole, completed(*output))

    assert pieces(generation) == [("tool_call", 7)]
    assert first_token(generation) == [2]
    assert parts(generation) == [{"type": "tool_call", "id": "call_9", "name": "look", "arguments": {"a": 1}}]
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)


LAST_EVENTS: dict[str, tuple[dict[str, Any], tuple[str, int]]] = {
    "refusal": (event("refusal.done", output_index=0, content_index=0, item_id="m1", refusal="no"), ("refusal", 2)),
    "summary": (
        event("reasoning_summary_text.done", output_index=0, summary_index=0, item_id="rs_1", text="Let me see"),
        ("reasoning", 10),
    ),
    "summary, as a part": (
        event(
            "reasoning_summary_part.done", output_index=0, summary_index=0, item_id="rs_1", part=THOUGHT["summary"][0]
        ),
        ("reasoning", 10),
    ),
    "reasoning": (
        event("reasoning_text.done", output_index=0, content_index=0, item_id="rs_1", text="hm"),
        ("reasoning", 2),
    ),
    "text, as a part": (
        event(
            "content_part.done",
            output_index=0,
            content_index=0,
            item_id="m1",
            part={"type": "output_text", "text": "Hello"},
        ),
        ("text", 5),
    ),
    "custom tool": (
        event("custom_tool_call_input.done", output_index=0, item_id="ct_1", input="*** Begin"),
        ("tool_call", 9),
    ),
    "MCP": (event("mcp_call_arguments.done", output_index=0, item_id="mcp_1", arguments='{"q":"x"}'), ("tool_call", 9)),
    "code": (
        event("code_interpreter_call_code.done", output_index=0, item_id="ci_1", code="print(1)"),
        ("tool_call", 8),
    ),
}


@pytest.mark.parametrize("what", LAST_EVENTS)
def test_each_value_is_taken_from_its_last_event(what: str) -> None:
    last, piece = LAST_EVENTS[what]
    generation = told(created(), last, completed())

    assert pieces(generation) == [piece]
    assert first_token(generation) == [1]


@pytest.mark.parametrize(
    ("item", "piece"),
    [
        (message("Hello"), ("text", 5)),
        (REFUSAL, ("refusal", 2)),
        (THOUGHT, ("reasoning", 10)),
        (FUNCTION, ("tool_call", 7)),
        (PATCH, ("tool_call", 9)),
        (SEARCH, ("tool_call", 9)),
        (CODE, ("tool_call", 8)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("where", ["in the item", "at the end"])
def test_each_value_is_taken_from_the_whole_item(item: dict[str, Any], piece: tuple[str, int], where: str) -> None:
    whole = event("output_item.done", output_index=0, item=item)
    generation = told(created(), *([whole] if where == "in the item" else []), completed(item))

    assert pieces(generation) == [piece]
    assert first_token(generation) == [1]


def test_nothing_is_told_twice() -> None:
    """All a message's events, each of which has the text once more."""
    about = {"item_id": "m1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "Hello", "annotations": []}
    generation = told(
        created(),
        event("output_item.added", output_index=0, item=message()),
        event("content_part.added", part={**part, "text": ""}, **about),
        event("output_text.delta", delta="He", **about),
        event("output_text.delta", delta="llo", **about),
        event("output_text.done", text="Hello", **about),
        event("content_part.done", part=part, **about),
        event("output_item.done", output_index=0, item=message("Hello")),
        completed(message("Hello")),
    )

    assert pieces(generation) == [("text", 2), ("text", 3)]
    assert parts(generation) == [{"type": "text", "content": "Hello"}]


def test_ids_that_differ_from_event_to_event_double_nothing() -> None:
    """Bridges give the whole message another id than its deltas, and the answer at the end a third one."""
    about = {"output_index": 0, "content_index": 0}
    generation = told(
        created(),
        event("output_text.delta", delta="Hello", item_id="chatcmpl-1", **about),
        event("output_text.done", text="Hello", item_id="msg-2", **about),
        event("output_item.done", output_index=0, item=message("Hello", item_id="msg-2")),
        completed(message("Hello", item_id="msg-3")),
    )

    assert pieces(generation) == [("text", 5)]


def test_items_at_one_position_are_known_by_their_ids() -> None:
    """Two calls of which each says it is the first item."""
    second = {**FUNCTION, "id": "fc_2", "call_id": "call_10", "arguments": '{"a":2}'}
    events = [
        made
        for item in (FUNCTION, second)
        for made in (
            event("output_item.added", output_index=0, item={**item, "arguments": ""}),
            event("function_call_arguments.delta", output_index=0, item_id=item["id"], delta=item["arguments"]),
            event("output_item.done", output_index=0, item=item),
        )
    ]
    generation = told(created(), *events, completed())

    assert [(part["id"], part["arguments"]) for part in parts(generation)] == [
        ("call_9", {"a": 1}),
        ("call_10", {"a": 2}),
    ]


@pytest.mark.parametrize("shown", ["added", "done"])
@pytest.mark.parametrize("positions", [(0, 1), (0, 0)])
def test_calls_with_one_call_id_are_known_by_the_ids_of_their_items(shown: str, positions: tuple[int, int]) -> None:
    """Some gateways give one id to all calls of an answer."""
    second = {**FUNCTION, "id": "fc_2", "name": "turn", "arguments": '{"a":2}'}
    events = []
    for position, item in zip(positions, (FUNCTION, second), strict=True):
        if shown == "added":
            events += [
                event("output_item.added", output_index=position, item={**item, "arguments": ""}),
                event("function_call_arguments.delta", item_id=item["id"], output_index=position, delta='{"a"'),
            ]
        events.append(event("output_item.done", output_index=position, item=item))
    generation = told(created(), *events, completed(FUNCTION, second))

    assert [(part["name"], part["arguments"]) for part in parts(generation)] == [("look", {"a": 1}), ("turn", {"a": 2})]


def test_a_call_whose_item_has_another_id_at_its_end_is_known_by_its_call_id() -> None:
    """Bridges from other APIs make an id an event."""
    about = {"item_id": "fc_2", "output_index": 0}
    generation = told(
        created(),
        event("output_item.added", output_index=0, item={**FUNCTION, "arguments": ""}),
        event("function_call_arguments.delta", delta=ARGUMENTS, **about),
        event("output_item.done", output_index=0, item={**FUNCTION, "id": "fc_3"}),
        completed({**FUNCTION, "id": "fc_4"}),
    )

    assert pieces(generation) == [("tool_call", 7)]
    assert len(parts(generation)) == 1


def test_text_missing_in_the_deltas_is_read_from_the_whole() -> None:
    about = {"item_id": "m1", "output_index": 0, "content_index": 0}
    generation = told(
        created(), event("output_text.delta", delta="He", **about), event("output_text.done", text="Hello", **about)
    )

    assert pieces(generation) == [("text", 2), ("text", 3)]


def test_a_call_without_arguments_is_a_token_all_the_same() -> None:
    item = {**FUNCTION, "arguments": ""}
    generation = told(
        created(),
        event("output_item.added", output_index=0, item=item),
        event("output_item.done", output_index=0, item=item),
        completed(),
    )

    assert first_token(generation) == [2]
    assert parts(generation)[0]["name"] == "look"


# --- What the end says --------------------------------------------------------------------

DELTA = event("function_call_arguments.delta", output_index=0, item_id="fc_1", delta=ARGUMENTS)
ADDED = event("output_item.added", output_index=0, item={**FUNCTION, "arguments": ""})
ENDS: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "another item": [message("Hi")],
    "the call without its arguments": [{**FUNCTION, "arguments": ""}],
}


@both_ways
@pytest.mark.parametrize("end", ENDS)
async def test_an_end_that_says_less_than_the_stream_takes_nothing_back(name: str, end: str) -> None:
    whole = event("output_item.done", output_index=0, item=FUNCTION)
    generation = await asked(name, created(), ADDED, DELTA, whole, completed(*ENDS[end]))

    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)
    assert parts(generation)[0] == {"type": "tool_call", "id": "call_9", "name": "look", "arguments": {"a": 1}}


def test_usage_that_was_told_before_the_end_stays() -> None:
    early = event("in_progress", response=response("in_progress"))
    last = completed(usage=None)
    counted = completed()["response"]["usage"]
    for told_early in (
        event("incomplete", response=response("incomplete", usage=counted)),
        event("completed", response=response("completed", usage=counted)),
    ):
        assert usage(told(created(), early, told_early, last))["output"] == 7


@pytest.mark.parametrize(
    "kind", ["function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call"]
)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_call_that_the_program_has_to_answer_is_the_finish_reason(kind: str, streamed: bool) -> None:
    item = call(kind, call_id="call_9", name="look")
    generation = told(
        *([event("output_item.done", output_index=0, item=item)] if streamed else []),
        completed(*([] if streamed else [item])),
    )

    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)


# --- Kinds of items -----------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_custom_tools_call_is_a_part(name: str, streamed: bool) -> None:
    added = event("output_item.added", output_index=0, item={**PATCH, "input": "", "status": "in_progress"})
    delta = event("custom_tool_call_input.delta", output_index=0, item_id="ct_1", delta="*** Begin")
    whole = event("output_item.done", output_index=0, item=PATCH)
    if streamed:
        generation = await asked(name, created(), added, delta, whole, completed(PATCH))
    else:
        generation = await plain(name, PATCH)

    assert parts(generation) == [{"type": "tool_call", "id": "call_1", "name": "patch", "arguments": "*** Begin"}]
    assert generation.attributes[signals.FINISH_REASONS] == ("tool_calls",)


async def plain(name: str, *output: dict[str, Any]) -> Generation:
    answer = completed(*output)["response"]
    with capture(capture_content="SPAN_ONLY") as captured, replay(plain=answer) as server:
        where = {"api_base": server.url, "api_key": "none"}
        await drained(getattr(litellm, name), model="openai/gpt-4o", input="Tides?", **where)
    return only(captured)


HOSTED: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "MCP": (
        SEARCH,
        [
            {"type": "tool_call", "id": "mcp_1", "name": "search", "arguments": {"q": "x"}},
            {"type": "tool_call_response", "id": "mcp_1", "response": "found"},
        ],
    ),
    "code": (
        CODE,
        [
            {"type": "tool_call", "id": "ci_1", "name": "code_interpreter_call", "arguments": "print(1)"},
            {"type": "tool_call_response", "id": "ci_1", "response": [{"type": "logs", "logs": 1}]},
        ],
    ),
    "web search": (
        call("web_search_call", "ws_1", action={"type": "search", "query": "tides"}),
        [
            {
                "type": "tool_call",
                "id": "ws_1",
                "name": "web_search_call",
                "arguments": {"type": "search", "query": "tides"},
            }
        ],
    ),
    "file search": (
        call("file_search_call", "fs_1", queries=["tides"], results=[{"file_id": "f1", "text": "moon"}]),
        [
            {"type": "tool_call", "id": "fs_1", "name": "file_search_call", "arguments": ["tides"]},
            {"type": "tool_call_response", "id": "fs_1", "response": "moon"},
        ],
    ),
    "computer": (
        call("computer_call", "cu_1", call_id="call_3", action={"type": "click", "x": 1}, pending_safety_checks=[]),
        [{"type": "tool_call", "id": "call_3", "name": "computer_call", "arguments": {"type": "click", "x": 1}}],
    ),
    "image": (
        call("image_generation_call", "ig_1", result="AAAA", output_format="webp"),
        [
            {"type": "tool_call", "id": "ig_1", "name": "image_generation_call", "arguments": None},
            {"type": "blob", "modality": "image", "mime_type": "image/webp", "content": "", "size": 3},
        ],
    ),
    "a call of tomorrow": (
        call("hologram_call", "ho_1", arguments='{"a":1}'),
        [{"type": "tool_call", "id": "ho_1", "name": "hologram_call", "arguments": {"a": 1}}],
    ),
    "an item of tomorrow": (call("hologram", "ho_1"), [{"type": "hologram"}]),
}


def normal(said: list[Any]) -> list[Any]:
    return json.loads(json.dumps(said).replace('"logs": "1"', '"logs": 1'))  # type: ignore[no-any-return]


@pytest.mark.parametrize("item", HOSTED)
@pytest.mark.parametrize("end", ["repeated at the end", "left out at the end", "not streamed"])
def test_every_kind_of_call_precedes_the_text(item: str, end: str) -> None:
    """Streamed or not, whoever runs the tool, and of a kind that nobody knows yet."""
    whole, said = HOSTED[item]
    streamed = [] if end == "not streamed" else [event("output_item.done", output_index=0, item=whole)]
    text = event("output_text.delta", output_index=1, content_index=0, item_id="m1", delta="Hello")
    generation = told(
        created(), *streamed, text, completed(*([] if end == "left out at the end" else [whole, message("Hello")]))
    )

    expected = [*said, {"type": "text", "content": "Hello"}]
    assert normal(parts(generation)) == expected
    assert first_token(generation) == [1]


@both_ways
@pytest.mark.parametrize("item", HOSTED)
async def test_every_kind_of_call_is_in_a_plain_answer(name: str, item: str) -> None:
    whole, said = HOSTED[item]
    generation = await plain(name, whole, message("Hello"))

    found = normal(parts(generation))
    assert [part["type"] for part in found] == [part["type"] for part in [*said, {"type": "text"}]]
    assert [part.get("name") for part in found][: len(said)] == [part.get("name") for part in said]


def test_a_picture_that_is_painted_bit_by_bit_is_one_part() -> None:
    """Partial images are chunks of their own kind, and the first one is the first token."""
    partial = [
        event("image_generation_call.partial_image", item_id="ig_1", output_index=0, partial_image_b64="AAAA")
        for _ in range(2)
    ]
    whole = event("output_item.done", output_index=0, item=call("image_generation_call", "ig_1", result="AAAABBBB"))
    generation = told(created(), *partial, whole, completed())

    assert pieces(generation) == [("image", 0), ("image", 0)]
    assert first_token(generation) == [1]
    assert [part.get("size") for part in parts(generation)] == [None, 6]


def test_a_delta_of_tomorrow_is_content() -> None:
    generation = told(
        created(),
        event("hologram.delta", item_id="ho_1", output_index=0, delta="AAAA"),
        event("shell_call_command.delta", item_id="sh_1", output_index=1, delta="ls"),
        completed(),
    )

    assert pieces(generation) == [("other", 0), ("tool_call", 2)]
