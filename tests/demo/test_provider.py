from __future__ import annotations

import asyncio
import json
import signal
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest

from otel_tokenstream.demo.provider import NO_CHOICES, ROLE, Piece, Script, Usage, reasoning, refusal, tool_call
from otel_tokenstream.demo.provider.human import NAMED_SCRIPTS

if TYPE_CHECKING:
    from otel_tokenstream.demo.provider import Exchange, ScriptedProvider

QUESTION = [{"role": "user", "content": "Why are there tides?"}]


def ask(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": QUESTION, "stream": True, **more}


def frames_of(body: bytes) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def stream(provider: ScriptedProvider, script: Script, **more: Any) -> list[Any]:
    """All frames of one streamed answer."""
    provider.scripts["test"] = script
    response = httpx.post(f"{provider.base_url}/chat/completions", json=ask("test", **more))
    assert response.headers["content-type"] == "text/event-stream"
    return frames_of(response.content)


def deltas(frames: list[Any]) -> list[dict[str, Any]]:
    return [choice["delta"] for frame in frames if frame != "[DONE]" for choice in frame["choices"]]


def finish_reasons(frames: list[Any]) -> list[str]:
    chunks = [frame for frame in frames if frame != "[DONE]"]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    return [reason for reason in reasons if reason]


def only(exchanges: list[Exchange]) -> Exchange:
    (exchange,) = exchanges
    return exchange


def test_log_tells_when_each_frame_was_sent(provider: ScriptedProvider) -> None:
    """Each frame arrives after the send time the log gives for it, in the order in which they were sent."""
    provider.scripts["test"] = Script(pieces=["a", "b", "c"] * 10, gap=0.02, before_headers=0.05, first_piece=0.05)
    arrived = []
    asked_ns = time.perf_counter_ns()
    with httpx.stream("POST", f"{provider.base_url}/chat/completions", json=ask("test")) as response:
        for raw in response.iter_raw():
            arrived += [(time.perf_counter_ns(), frame) for frame in frames_of(raw)]
    exchange = only(provider.log.settled())

    assert len(arrived) == len(exchange.sent_ns) == len(exchange.kinds)
    assert all(at >= sent for (at, _), sent in zip(arrived, exchange.sent_ns, strict=True))
    assert list(exchange.sent_ns) == sorted(exchange.sent_ns)
    assert asked_ns < exchange.received_ns < (exchange.headers_ns or 0) < exchange.sent_ns[0] < exchange.sent_ns[-1]


def test_frames_are_never_early_and_gaps_do_not_drift(provider: ScriptedProvider) -> None:
    """Frame n goes out no sooner than its absolute deadline, and a frame that was late delays none after it."""
    stream(provider, Script(pieces=["x"] * 50, gap=[0.01, 0.03], pauses={10: 0.2}))
    exchange = only(provider.log.settled())

    sent = exchange.sent("text")
    due = [sum((0.01, 0.03)[n % 2] for n in range(index)) + (0.2 if index >= 10 else 0) for index in range(50)]
    late = [(at - exchange.received_ns) / 1e9 - offset for at, offset in zip(sent, due, strict=True)]
    assert min(late) >= 0
    assert min(late[25:]) < max(late[:25])  # with relative pauses each would be later than all before it


@pytest.mark.parametrize("ending", ["stop", "length", "tool_calls", "content_filter"])
def test_finish_reason_stands_in_a_chunk_of_its_own(provider: ScriptedProvider, ending: Any) -> None:
    """The finish reason follows the last piece in an empty delta, then comes the end marker."""
    frames = stream(provider, Script(pieces=["a", "b"], gap=0, ending=ending))

    assert frames[-1] == "[DONE]"
    assert frames[-2]["choices"] == [{"index": 0, "delta": {}, "finish_reason": ending}]
    assert only(provider.log.settled()).kinds == ["role", "text", "text", "finish", "done"]


def test_finish_reason_can_stand_in_the_last_piece(provider: ScriptedProvider) -> None:
    """Without a finish chunk the last piece carries the reason, and the first one the role."""
    frames = stream(provider, Script(pieces=["a", "b"], gap=0, role_alone=False, finish_alone=False, done_marker=False))

    assert deltas(frames) == [{"role": "assistant", "content": "a"}, {"content": "b"}]
    assert frames[-1]["choices"][0]["finish_reason"] == "stop"


def test_body_can_end_without_a_finish_reason(provider: ScriptedProvider) -> None:
    """The ending none closes the body properly and never says why."""
    frames = stream(
        provider, Script(pieces=["a", "b"], gap=0, ending="none", ends_after=1), stream_options={"include_usage": True}
    )

    assert [delta["content"] for delta in deltas(frames)] == ["", "a"]
    assert finish_reasons(frames) == []


@pytest.mark.parametrize(("ending", "error"), [("cut", httpx.RemoteProtocolError), ("reset", httpx.ReadError)])
def test_connection_breaks_in_the_middle_of_the_body(
    provider: ScriptedProvider, ending: Any, error: type[Exception]
) -> None:
    """What was sent before the break arrives, then the client sees a broken connection."""
    provider.scripts["test"] = Script(pieces=["a"] * 9, gap=0.01, ending=ending, ends_after=3)
    received: list[bytes] = []

    def read() -> None:
        with httpx.stream("POST", f"{provider.base_url}/chat/completions", json=ask("test")) as response:
            for raw in response.iter_raw():
                received.append(raw)  # noqa: PERF402 - kept when the loop breaks off

    with pytest.raises(error):
        read()

    assert [delta["content"] for delta in deltas(frames_of(b"".join(received)))] == ["", "a", "a", "a"]
    assert only(provider.log.settled()).ended == "cut"


def test_error_frame_comes_under_status_200(provider: ScriptedProvider) -> None:
    """The error object stands where the next piece would have, and no finish reason does."""
    frames = stream(
        provider, Script(pieces=["a", "b"], gap=0, ending="error_frame", ends_after=1, error_message="no more")
    )

    assert frames[-2]["error"]["message"] == "no more"
    assert only(provider.log.settled()).kinds == ["role", "text", "error", "done"]


@pytest.mark.parametrize("streamed", [True, False])
def test_http_error_replaces_the_answer(provider: ScriptedProvider, streamed: bool) -> None:
    """Status, headers and message are the script's."""
    provider.scripts["test"] = Script(ending="http_error", status=429, headers={"Retry-After": "1"}, error_type="rate")
    response = httpx.post(f"{provider.base_url}/chat/completions", json=ask("test", stream=streamed))

    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json()["error"]["type"] == "rate"
    assert only(provider.log.settled()).ended == "failed"


@pytest.mark.parametrize("script", [Script(pieces=["a"], ending="hang"), Script(pieces=["a", "b"], pauses={1: 60})])
def test_client_that_goes_is_noticed_at_once(provider: ScriptedProvider, script: Script) -> None:
    """A client that leaves during silence ends the exchange as disconnected without waiting for the next frame."""
    provider.scripts["test"] = script
    with httpx.stream("POST", f"{provider.base_url}/chat/completions", json=ask("test")) as response:
        raw = response.iter_raw()
        received = next(raw)
        while b'"content":"a"' not in received:
            received += next(raw)

    exchange = only(provider.log.settled())
    assert exchange.ended == "disconnected"
    assert exchange.kinds == ["role", "text"]


def test_usage_is_sent_only_if_asked_for(provider: ScriptedProvider) -> None:
    """The usage chunk needs include_usage, unless the script sends it anyway; its numbers can be set."""
    script = Script(pieces=["a", reasoning("b")], gap=0)
    asked = {"stream_options": {"include_usage": True}}

    assert not [frame for frame in stream(provider, script) if "usage" in frame]
    assert not [frame for frame in stream(provider, Script(pieces=["a"], usage=None), **asked) if "usage" in frame]
    counted = stream(provider, script, **asked)[-2]
    assert counted["choices"] == []
    assert counted["usage"]["completion_tokens"] == 2
    assert counted["usage"]["completion_tokens_details"] == {"reasoning_tokens": 1}
    given = stream(provider, Script(pieces=["a"], usage=Usage(7, 9, cached=5), usage_unasked=True))[-2]["usage"]
    assert (given["prompt_tokens"], given["completion_tokens"], given["total_tokens"]) == (7, 9, 16)
    assert given["prompt_tokens_details"] == {"cached_tokens": 5}


def test_every_kind_of_piece_becomes_its_delta(provider: ScriptedProvider) -> None:
    """Role, reasoning, refusal, tool calls and chunks without choices look as providers send them."""
    pieces = [
        NO_CHOICES,
        ROLE,
        reasoning("hm"),
        refusal("no"),
        tool_call("", name="look", call_id="call_1"),
        tool_call('{"at": 1}'),
    ]
    frames = stream(provider, Script(pieces=pieces, gap=0, role_alone=False))

    assert frames[0]["choices"] == []
    assert deltas(frames) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"refusal": "no"},
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at": 1}'}}]},
        {},
    ]
    assert finish_reasons(frames) == ["tool_calls"]


def test_choices_come_interleaved(provider: ScriptedProvider) -> None:
    """Every choice gets the pieces that name none and its own."""
    pieces = ["both", Piece("text", "first", choice=0), Piece("text", "second", choice=1)]
    frames = stream(provider, Script(pieces=pieces, gap=0), n=2)

    texts = {0: "", 1: ""}
    for frame in frames[:-1]:
        for choice in frame["choices"]:
            texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: "bothfirst", 1: "bothsecond"}
    assert finish_reasons(frames) == ["stop", "stop"]


def test_frames_can_be_cut_and_joined_on_their_way(provider: ScriptedProvider) -> None:
    """Writes of a few bytes or of several frames carry the same body; joined frames share their send time."""
    pieces = ["ä", "→", "c", "d"]
    whole = deltas(stream(provider, Script(pieces=pieces, gap=0)))
    assert deltas(stream(provider, Script(pieces=pieces, gap=0, bytes_per_write=50))) == whole
    provider.log.clear()
    assert deltas(stream(provider, Script(pieces=pieces, gap=0.01, frames_per_write=3))) == whole

    sent = only(provider.log.settled()).sent_ns
    assert [sent.count(at) for at in sorted(set(sent))] == [3, 3, 1]


def test_plain_answer_is_the_streamed_one_in_one_piece(provider: ScriptedProvider) -> None:
    """Without stream the same content comes as one message, no sooner than the stream would have ended."""
    pieces = [reasoning("hm "), "a", "b", tool_call("{", name="look", call_id="1"), tool_call("}")]
    provider.scripts["test"] = Script(pieces=pieces, gap=0.01)
    response = httpx.post(f"{provider.base_url}/chat/completions", json=ask("test", stream=False)).json()

    assert response["choices"][0]["finish_reason"] == "tool_calls"
    assert response["choices"][0]["message"] == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "hm ",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
    }
    assert response["usage"]["completion_tokens"] == 5
    exchange = only(provider.log.settled())
    assert exchange.sent("body")[0] - exchange.received_ns >= 50e6


def test_scripts_in_sequence_answer_one_request_each(provider: ScriptedProvider) -> None:
    """A provider that fails twice and then recovers is two failing scripts and a good one."""
    failing = Script(ending="http_error", status=503)
    provider.scripts["test"] = [failing, failing, Script(pieces=["a"], gap=0)]
    statuses = [httpx.post(f"{provider.base_url}/chat/completions", json=ask("test")).status_code for _ in range(4)]

    assert statuses == [503, 503, 200, 200]


def test_named_scripts_match_their_names(provider: ScriptedProvider) -> None:
    """Reasoning precedes the answer, tools are called, a stall is one long pause, the pace is a human's."""
    fast = {name: Script(pieces=script.pieces, gap=0) for name, script in NAMED_SCRIPTS.items()}
    kinds = [next(iter(delta)) for delta in deltas(stream(provider, fast["thinking"])) if delta]
    assert kinds == sorted(kinds, reverse=True, key=("content", "reasoning_content", "role").index)
    assert finish_reasons(stream(provider, fast["tools"])) == ["tool_calls"]

    due = list(zip(range(80), NAMED_SCRIPTS["stall"].due(["word"] * 80, seed=1), strict=False))
    gaps = [after[1] - before[1] for before, after in pairwise(due)]
    assert [index for index, gap in enumerate(gaps, start=1) if gap > 2] == [40]
    assert 0.3 <= due[0][1] <= 0.5
    assert 0.015 < statistics.median(gaps) < 0.035


def test_same_question_gets_the_same_answer_at_the_same_pace(provider: ScriptedProvider) -> None:
    """Answers and gaps depend on the request alone, so that a demo can be repeated."""
    script = NAMED_SCRIPTS["human"]
    assert list(zip(range(9), script.due(["a"] * 9, seed=5), strict=False)) == list(
        zip(range(9), script.due(["a"] * 9, seed=5), strict=False)
    )
    answers = {json.dumps(deltas(stream(provider, Script(gap=0)))) for _ in range(2)}
    assert len(answers) == 1
    assert "Moon" in answers.pop()


def test_limit_of_the_request_cuts_a_composed_answer(provider: ScriptedProvider) -> None:
    """With max_tokens the answer stops there with the finish reason length."""
    frames = stream(provider, Script(gap=0), max_tokens=5)

    assert len(provider.log.settled()[0].sent("text")) == 5
    assert finish_reasons(frames) == ["length"]


def test_bad_request_is_refused(provider: ScriptedProvider) -> None:
    """A body that is no JSON object with a model gets status 400 and a reason."""
    response = httpx.post(f"{provider.base_url}/chat/completions", content=b"[]")

    assert response.status_code == 400
    assert "model" in response.json()["error"]["message"]


async def test_two_hundred_streams_keep_pace(provider: ScriptedProvider) -> None:
    """200 streams at once take a small part of the time that they would take one after another."""
    provider.scripts["test"] = Script(pieces=["word "] * 100, gap=0.02)

    async def read(session: aiohttp.ClientSession) -> int:
        async with session.post(f"{provider.base_url}/chat/completions", json=ask("test")) as response:
            return len(await response.read())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        sizes = await asyncio.gather(*(read(session) for _ in range(200)))

    assert len(set(sizes)) == 1
    sent = [exchange.sent("text") for exchange in provider.log.settled(count=200)]
    one_by_one = sum(times[-1] - times[0] for times in sent)
    assert max(times[-1] for times in sent) - min(times[0] for times in sent) < one_by_one / 20


def test_provider_runs_as_a_process_of_its_own() -> None:
    """It prints its address, keeps its log for other processes and ends on SIGTERM."""
    command = [sys.executable, "-m", "otel_tokenstream.demo.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            models = httpx.get(f"{base_url}/models").json()["data"]
            response = httpx.post(f"{base_url}/chat/completions", json=ask("cut", stream=False) | {"model": "error"})
            log_url = base_url.removesuffix("/v1") + "/log"
            log = httpx.get(log_url).json()
            assert httpx.delete(log_url).status_code == 204
            emptied = httpx.get(log_url).json()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    assert {"human", "thinking", "stall", "cut", "error", "slow-start", "tools"} <= {model["id"] for model in models}
    assert response.status_code == 503
    assert [(exchange["model"], exchange["ended"]) for exchange in log] == [("error", "failed")]
    assert emptied == []
