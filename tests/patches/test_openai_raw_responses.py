"""Raw responses of the SDKs: when they are freed, and how their calls end, parsed or not."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tokenstream.demo.provider import ScriptedProvider
    from otel_tokenstream.testing import Capture

PIECES = ["a", "b", "c"]
ASKED: dict[str, Any] = {"model": "test", "messages": [{"role": "user", "content": "Why?"}], "stream": True}
LIMITED: dict[str, Any] = {**ASKED, "max_tokens": 9}


@pytest.fixture(autouse=True)
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def answering(provider: ScriptedProvider) -> ScriptedProvider:
    provider.scripts["test"] = Script(pieces=PIECES, gap=0.001)
    return provider


def completions(provider: ScriptedProvider, kind: str = "OpenAI") -> Any:
    return getattr(openai, kind)(base_url=provider.base_url, api_key="none", max_retries=0).chat.completions


def messages(provider: ScriptedProvider, kind: str = "Anthropic") -> Any:
    return getattr(anthropic, kind)(base_url=provider.address, api_key="none", max_retries=0).messages


# --- Unparsed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["openai", "anthropic"])
def test_a_raw_response_that_is_dropped_unparsed_is_freed_at_once(
    answering: ScriptedProvider, tokenstream: Capture, package: str
) -> None:
    asked = completions(answering) if package == "openai" else messages(answering)
    response = asked.with_raw_response.create(**LIMITED)
    held, http_held = weakref.ref(response), weakref.ref(response.http_response)
    del response

    assert held() is None
    assert http_held() is None
    assert [each.outcome for each in tokenstream.generations] == ["abandoned"]


def test_a_raw_response_whose_lines_were_all_read_has_completed(
    answering: ScriptedProvider, tokenstream: Capture
) -> None:
    response = completions(answering).with_raw_response.create(**ASKED)
    list(response.http_response.iter_lines())
    del response

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert signals.ERROR_TYPE not in generation.attributes


def test_a_raw_response_that_the_collector_finds_has_completed_where_its_lines_were_read(
    answering: ScriptedProvider, tokenstream: Capture
) -> None:
    response = completions(answering).with_raw_response.create(**ASKED)
    list(response.http_response.iter_lines())
    response.itself = response
    del response
    gc.collect()
    list(completions(answering).create(**ASKED))

    assert [each.outcome for each in tokenstream.generations] == ["completed"] * 2


@pytest.mark.parametrize("leave", ["drop", "close"])
def test_a_raw_response_that_was_read_in_part_has_not_completed(
    provider: ScriptedProvider, tokenstream: Capture, leave: str
) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, ending="hang")
    response = completions(provider).with_raw_response.create(**ASKED)
    next(response.http_response.iter_lines())
    if leave == "close":
        response.http_response.close()
    del response

    assert [each.outcome for each in tokenstream.generations] == ["abandoned"]


@pytest.mark.parametrize("read", ["iter_lines", "iter_bytes", "read"])
def test_a_streaming_response_that_was_read_to_the_end_has_completed(
    answering: ScriptedProvider, tokenstream: Capture, read: str
) -> None:
    with completions(answering).with_streaming_response.create(**ASKED) as response:
        list(getattr(response, read)())

    (generation,) = tokenstream.generations
    assert generation.outcome == "completed"
    assert signals.ERROR_TYPE not in generation.attributes
    assert signals.FINISH_REASONS not in generation.attributes


async def test_an_async_streaming_response_that_was_read_to_the_end_has_completed(
    answering: ScriptedProvider, tokenstream: Capture
) -> None:
    async with completions(answering, "AsyncOpenAI").with_streaming_response.create(**ASKED) as response:
        lines = [line async for line in response.iter_lines()]

    assert lines
    assert [each.outcome for each in tokenstream.generations] == ["completed"]


async def test_an_async_streaming_response_that_was_read_in_part_is_closed(
    provider: ScriptedProvider, tokenstream: Capture
) -> None:
    provider.scripts["test"] = Script(pieces=PIECES, ending="hang")
    async with completions(provider, "AsyncOpenAI").with_streaming_response.create(**ASKED) as response:
        await anext(response.iter_lines())

    assert [each.outcome for each in tokenstream.generations] == ["closed"]
    provider.log.settled(1, 5.0)


# --- Parsed -----------------------------------------------------------------------------------


def assert_all_were_recorded(tokenstream: Capture, calls: int = 1) -> None:
    assert [each.outcome for each in tokenstream.generations] == ["completed"] * calls
    for generation in tokenstream.generations:
        assert generation.attributes[signals.CHUNKS] >= len(PIECES)


def test_a_response_that_is_parsed_without_being_kept_gives_its_stream(
    answering: ScriptedProvider, tokenstream: Capture
) -> None:
    list(completions(answering).with_raw_response.create(**ASKED).parse())
    list(messages(answering).with_raw_response.create(**LIMITED).parse())

    assert_all_were_recorded(tokenstream, 2)


async def test_an_async_response_that_is_parsed_without_being_kept_gives_its_stream(
    answering: ScriptedProvider, tokenstream: Capture
) -> None:
    stream = (await completions(answering, "AsyncOpenAI").with_raw_response.create(**ASKED)).parse()
    assert [chunk async for chunk in stream]
    parsing = (await messages(answering, "AsyncAnthropic").with_raw_response.create(**LIMITED)).parse()
    assert [chunk async for chunk in (await parsing if hasattr(parsing, "__await__") else parsing)]

    assert_all_were_recorded(tokenstream, 2)


def test_a_parse_method_that_is_kept_keeps_its_response(answering: ScriptedProvider, tokenstream: Capture) -> None:
    parse = completions(answering).with_raw_response.create(**ASKED).parse
    list(parse())

    assert_all_were_recorded(tokenstream)


def test_a_copy_of_a_raw_response_gives_the_stream(answering: ScriptedProvider, tokenstream: Capture) -> None:
    response = completions(answering).with_raw_response.create(**ASKED)
    copied = copy.copy(response)
    del response
    gc.collect()
    list(copied.parse())

    assert_all_were_recorded(tokenstream)


def test_a_response_that_was_read_as_a_whole_is_still_parsed(answering: ScriptedProvider, tokenstream: Capture) -> None:
    with completions(answering).with_streaming_response.create(**ASKED) as response:
        response.read()
        list(response.parse())

    assert_all_were_recorded(tokenstream)
