from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import litellm
import pytest

from otel_tokenstream import Redactor, TokenCollector, attach, correlate, signals, step, subscribe
from otel_tokenstream.demo.provider import Script, reasoning, tool_call
from otel_tokenstream.testing import capture
from tests.live.live_calls import QUESTION, Seen, arguments, program, streamed

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tokenstream.demo.provider import ScriptedProvider

ADDRESS = "ann.bell@example.org"
SECRET = f"Write to {ADDRESS} today."


def mask(text: str) -> str:
    return re.sub(r"[\w.]+@[\w.]+\w", "[address]", text)


every_hook = pytest.mark.parametrize("hook", [mask, Redactor(mask, longest=40)], ids=["plain", "declared"])


def leaked(texts: list[str]) -> bool:
    """Whether the address can be put together from what left, or a half of it stands in one piece."""
    whole = "".join(texts)
    return ADDRESS in whole or "ann.bell" in whole or "@example" in whole


@every_hook
@pytest.mark.parametrize(
    ("kind", "pieces"),
    [
        ("text", list(SECRET)),
        ("reasoning", [reasoning(character) for character in SECRET]),
        ("tool_call", [tool_call("", name="send", call_id="call_1"), *map(tool_call, SECRET)]),
    ],
)
def test_an_address_sent_one_character_a_chunk_never_leaves(
    provider: ScriptedProvider, kind: str, pieces: list[Any], hook: Callable[[str], str]
) -> None:
    """Neither to a callback, a collector, a sink nor a log record; the rest of the text does."""
    called, sunk = Seen(), Seen()
    with (
        capture(redact=hook, events="both", capture_content="SPAN_AND_EVENT") as captured,
        subscribe(called),
        attach(sunk, text=True),
        TokenCollector() as collected,
    ):
        streamed(provider, Script(pieces=pieces, gap=0))

    for texts in (
        [token.text or "" for token in called.tokens],
        [token.text or "" for token in sunk.tokens],
        [token.text or "" for token in collected.tokens],
        [str(event.attributes.get(signals.AT_TEXT, "")) for event in captured.logs],
    ):
        assert not leaked(texts)
        assert "".join(texts) == "Write to [address] today."
    assert {token.kind for token in called.tokens if token.text} == {kind}
    assert sum(token.chars for token in called.tokens) == len(SECRET)


@every_hook
def test_an_address_in_a_field_never_leaves(provider: ScriptedProvider, hook: Callable[[str], str]) -> None:
    """The text of each field of a program is redacted as a whole; the program gets the address."""
    reply = f"[[ ## reasoning ## ]]\nI know {ADDRESS}\n\n[[ ## answer ## ]]\n{SECRET}\n\n[[ ## completed ## ]]"
    with capture(redact=hook), TokenCollector() as collected:
        ask = program(provider)
        provider.scripts["program"] = Script(pieces=list(reply), gap=0)
        *_, prediction = ask(question=QUESTION)

    assert prediction.answer == SECRET
    assert {name: text.strip() for name, text in collected.fields.items()} == {
        "reasoning": "I know [address]",
        "answer": "Write to [address] today.",
    }
    assert not leaked([token.text or "" for token in collected.tokens])


@every_hook
@pytest.mark.parametrize("taken", range(8, 32, 4))
def test_a_loss_in_the_midst_of_an_address_lets_no_half_of_it_out(
    provider: ScriptedProvider, hook: Callable[[str], str], taken: int
) -> None:
    """What is left of a match after a loss is no match any more: no text of that run leaves then."""
    seen, entered, free = Seen(), threading.Event(), threading.Event()

    def callback(event: Any) -> None:
        seen(event)
        if not entered.is_set():
            entered.set()
            free.wait()

    with capture(redact=hook), subscribe(callback, capacity=taken) as subscription:
        # Lost from the middle of the address on; the rest comes when the callback is free again.
        stream = litellm.completion(**arguments(provider, Script(pieces=list(SECRET), gap=0)))
        assert entered.wait(60)
        for _ in range(20):
            next(stream)
        free.set()
        assert subscription.flush(60)
        list(stream)

    assert seen.end.outcome == "completed"
    assert (seen.end.dropped > 0) == (taken < 20)
    assert not leaked([token.text or "" for token in seen.tokens])
    if seen.end.dropped:
        assert "ann" not in seen.text
        assert "org" not in seen.text


@every_hook
def test_an_address_in_a_tool_call_is_found_although_another_call_comes_between(
    provider: ScriptedProvider, hook: Callable[[str], str]
) -> None:
    """Each call is a text of its own, whose pieces need not follow one another."""
    pieces = [
        tool_call('{"to": "ann.b', name="send", call_id="call_1"),
        tool_call('{"in": "Rome"}', name="look", call_id="call_2", index=1),
        tool_call('ell@example.org"}'),
    ]
    seen = Seen()
    with capture(redact=hook), subscribe(seen):
        streamed(provider, Script(pieces=pieces, gap=0))

    calls = {
        number: "".join(token.text or "" for token in seen.tokens if token.tool_call == number) for number in (0, 1)
    }
    assert calls == {0: '{"to": "[address]"}', 1: '{"in": "Rome"}'}


@every_hook
def test_a_loss_costs_the_text_of_the_runs_it_was_in(provider: ScriptedProvider, hook: Callable[[str], str]) -> None:
    """Half of one call's address is lost, the other half comes after text of others: those have all of theirs."""
    pieces = [
        reasoning("hm"),
        tool_call('{"to": "ann.b', name="send", call_id="call_1"),
        "Done.",
        tool_call('{"in": "Rome"}', name="look", call_id="call_2", index=1),
        tool_call('ell@example.org"}'),
    ]
    seen, entered, free = Seen(), threading.Event(), threading.Event()

    def callback(event: Any) -> None:
        seen(event)
        if not entered.is_set():
            entered.set()
            free.wait()

    with capture(redact=hook), subscribe(callback, capacity=2) as subscription:
        stream = litellm.completion(**arguments(provider, Script(pieces=pieces, gap=0)))
        assert entered.wait(10)
        for chunk in stream:
            if chunk.choices[0].delta.tool_calls:  # for which the queue had no room
                break
        free.set()
        assert subscription.flush(10)
        for _ in stream:
            assert subscription.flush(10)

    assert seen.end.dropped == 1
    texts = {token.kind: "" for token in seen.tokens if token.kind != "empty"}
    for token in seen.tokens:
        if token.text:
            texts[token.kind] += token.text
    assert texts == {"reasoning": "hm", "text": "Done.", "tool_call": '{"in": "Rome"}'}


def test_text_withheld_by_a_hook_is_bounded(provider: ScriptedProvider) -> None:
    """However many tool calls there are: those beyond the bound have no text, the others all of theirs."""
    pieces = [tool_call("x" * 100_000, name="put", call_id=f"call_{at}", index=at) for at in range(6)]
    with capture(redact=str.strip), TokenCollector() as collected:  # mask takes quadratic time for so long a word
        streamed(provider, Script(pieces=pieces, gap=0))

    texts = ["".join(token.text or "" for token in collected.tokens if token.tool_call == at) for at in range(6)]
    assert [len(text) for text in texts] == [100_000, 100_000, 0, 0, 0, 0]


def test_text_of_a_step_is_redacted_live() -> None:
    """Attributes of a step may quote the user; counts stay what they are."""
    with capture(redact=mask), TokenCollector() as collected, step("search", query=SECRET, k=3) as span:
        span.add_event("found", {"by": [ADDRESS], "passages": 2})

    start, note, _ = collected.events
    assert start.attributes == {"query": "Write to [address] today.", "k": 3}  # type: ignore[attr-defined]
    assert note.attributes == {"by": ["[address]"], "passages": 2}  # type: ignore[attr-defined]


@pytest.mark.parametrize("hook", [None, mask])
def test_a_program_that_asks_for_data_is_told_of_it(provider: ScriptedProvider, hook: Any) -> None:
    """Live tokens are what a reader is shown: base64 is data there, which spans and log records leave out."""
    data = "data:image/png;base64," + "iVBORw0KGgo1" * 40
    with capture(redact=hook), TokenCollector() as collected:
        streamed(provider, Script(pieces=[data[at : at + 7] for at in range(0, len(data), 7)], gap=0))

    assert collected.get_text() == data


def test_a_hook_that_fails_lets_nothing_out(provider: ScriptedProvider) -> None:
    """The facts still come."""

    def broken(text: str) -> str:
        raise ValueError(text)

    seen = Seen()
    with capture(redact=broken), subscribe(seen):
        streamed(provider)

    assert seen.text == "[redaction failed]"
    assert sum(token.chars for token in seen.tokens) == 8


@every_hook
def test_an_address_that_comes_by_turns_with_another_text_never_leaves(
    provider: ScriptedProvider, hook: Callable[[str], str]
) -> None:
    """A letter of the answer, a letter of the reasoning: each is a text of its own, which a reader puts together."""
    pieces = [piece for letter in SECRET for piece in (reasoning(letter), letter)]
    with capture(redact=hook, events="both", capture_content="EVENT_ONLY") as captured, TokenCollector() as seen:
        list(litellm.completion(**arguments(provider, Script(pieces=pieces, gap=0))))

    (generation,) = captured.generations
    for kind in ("text", "reasoning"):
        told = [token.text or "" for token in seen.events if token.type == "token" and token.kind == kind]  # type: ignore[attr-defined]
        assert "".join(told) == mask(SECRET)
        logged = [
            record.attributes.get(signals.AT_TEXT, "")
            for record in captured.logs
            if record.name == signals.TOKEN_EVENT and record.attributes.get(signals.AT_KIND, "text") == kind
        ]
        assert "".join(logged) == mask(SECRET)
    assert sorted(generation.text.replace("[address]", "")) == sorted(mask(SECRET).replace("[address]", "") * 2)
    assert not leaked([generation.text])


def test_who_a_call_is_for_is_redacted_in_events_and_found_all_the_same(provider: ScriptedProvider) -> None:
    """A subscriber in the program asks for the value it gave; what is sent has passed the hook."""
    who = {"user_id": ADDRESS, "operation": f"for {ADDRESS}"}
    with capture(redact=mask) as captured, TokenCollector(correlation={"user_id": ADDRESS}) as seen:
        with correlate(**who), step(f"answer {ADDRESS}"):
            streamed(provider)
        streamed(provider)

    assert {event.type for event in seen.events} == {"step_start", "start", "token", "end", "step_end"}
    assert {event.correlation["user_id"] for event in seen.events} == {"[address]"}
    assert {event.operation for event in seen.events} == {"for [address]"}
    assert seen.events[0].name == "answer [address]"  # type: ignore[attr-defined]
    of_step = next(span for span in captured.spans if span.name == "answer [address]")
    assert of_step.attributes[signals.USER_ID] == "[address]"
    assert not leaked([str(span.attributes) for span in captured.spans])
